//! Signed notes (C2SP signed-note v1.0.0): text, a blank line, signature lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{KeyError, SIGNATURE_LEN, Signer, Verifier, check_name};

/// The largest note we read, in bytes. A checkpoint with sixteen cosignatures is a tenth of it.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signature lines we read or write (signed-note asks for at least 16).
pub const MAX_SIGNATURES: usize = 16;
/// What a signature line begins with: an em dash and a space.
const PREFIX: &str = "\u{2014} ";

/// What is wrong with a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is too long")]
    TooLong(usize),
    /// Not UTF-8, a control character, no blank line, no final newline, a broken signature line.
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// No signature by any key that the caller knows.
    #[error("no signature by a known key")]
    Unsigned,
    /// A signature that claims to be by a known key and is not.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name.
    pub name: String,
    /// The signer's key ID.
    pub key_id: u32,
    /// The signature's bytes; 64 for an Ed25519 key, others for types we don't know.
    pub signature: Vec<u8>,
}

/// A text with its signatures, not yet checked: see [`SignedNote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs `text`, which must end in a newline.
    ///
    /// # Errors
    /// When the text or the number of signers is not allowed.
    pub fn sign(text: &str, signers: &[&Signer]) -> Result<Self, NoteError> {
        let mut note = Self::unsigned(text)?;
        for signer in signers {
            note.add(signer.verifier(), signer.sign(text.as_bytes()))?;
        }
        Ok(note)
    }

    /// A text with no signatures yet. Only [`SignedNote::add`] makes it a note.
    ///
    /// # Errors
    /// When the text is not allowed in a note.
    pub fn unsigned(text: &str) -> Result<Self, NoteError> {
        check_text(text)?;
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Adds a signature made earlier over the same text; it is verified first.
    ///
    /// # Errors
    /// When the signature is not by `key`, or there are [`MAX_SIGNATURES`] already.
    pub fn add(&mut self, key: &Verifier, sig: [u8; SIGNATURE_LEN]) -> Result<(), NoteError> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        key.verify(self.text.as_bytes(), &sig)?;
        self.signatures.push(NoteSignature {
            name: key.name().to_owned(),
            key_id: key.key_id(),
            signature: sig.to_vec(),
        });
        Ok(())
    }

    /// Reads a note. Says nothing about whether its signatures are right.
    ///
    /// # Errors
    /// When the bytes are not a note, or a bound is exceeded.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        // The last blank line parts text from signatures; the text keeps its own newline.
        let (text, lines) =
            whole.rsplit_once("\n\n").ok_or(NoteError::Malformed("no blank line"))?;
        let text = format!("{text}\n");
        check_text(&text)?;
        let lines =
            lines.strip_suffix('\n').ok_or(NoteError::Malformed("no newline at the end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() >= MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line)?);
        }
        Ok(Self { text, signatures })
    }

    /// The text, with its final newline: what is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note's bytes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for sig in &self.signatures {
            let mut blob = sig.key_id.to_be_bytes().to_vec();
            blob.extend_from_slice(&sig.signature);
            out.push_str(&format!("{PREFIX}{} {}\n", sig.name, STANDARD.encode(blob)));
        }
        out
    }

    /// Checks every signature by a key in `known` (same name and ID) and returns those keys.
    /// Signatures by other keys are ignored, as the specification asks.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] when none is known; [`NoteError::Key`] when any known one is wrong.
    pub fn verify<'k>(&self, known: &'k [Verifier]) -> Result<Vec<&'k Verifier>, NoteError> {
        let mut good: Vec<&Verifier> = Vec::new();
        for sig in &self.signatures {
            let same = |key: &&Verifier| key.key_id() == sig.key_id && key.name() == sig.name;
            let Some(key) = known.iter().find(same) else { continue };
            key.verify(self.text.as_bytes(), &sig.signature)?;
            if !good.contains(&key) {
                good.push(key);
            }
        }
        if good.is_empty() { Err(NoteError::Unsigned) } else { Ok(good) }
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong(text.len()));
    }
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("the text does not end in a newline"));
    }
    if text.chars().any(|c| c < '\u{20}' && c != '\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    Ok(())
}

fn parse_signature(line: &str) -> Result<NoteSignature, NoteError> {
    const BROKEN: NoteError = NoteError::Malformed("a broken signature line");
    let (name, blob) =
        line.strip_prefix(PREFIX).and_then(|rest| rest.split_once(' ')).ok_or(BROKEN)?;
    check_name(name).map_err(|_| BROKEN)?;
    let blob = STANDARD.decode(blob).map_err(|_| BROKEN)?;
    match blob.split_first_chunk::<4>() {
        Some((id, signature)) if !signature.is_empty() => Ok(NoteSignature {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            signature: signature.to_vec(),
        }),
        _ => Err(BROKEN),
    }
}
