//! Masking alone: what comes on standard input goes to standard output, masked. What was masked
//! is counted on standard error.
//!
//! ```text
//! $ echo 'jane@example.com paid with 4111 1111 1111 1111' | masking_alone
//! <EMAIL_ADDRESS> paid with ***************1111
//! 1 CREDIT_CARD
//! 1 EMAIL_ADDRESS
//! ```

use std::io::{Read as _, Write as _, stderr, stdin, stdout};
use std::sync::Arc;

use masking::{Config, Policy, Sink};

/// Rules are tried in order; the first that names the entity decides. `client` is the sink whose
/// text people see. The record's operator may differ; here nothing is recorded.
const RULES: &str = r#"
    [[rule]]
    entity = ["CREDIT_CARD"]
    client = { operator = "mask", chars_to_mask = 15 }

    [[rule]]
    entity = ["EMAIL_ADDRESS", "IBAN_CODE", "US_SSN"]
    client = { operator = "replace" }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config: Config = toml::from_str(RULES)?;
    // A key is only needed for `hash` and `pseudonymize`.
    let policy = Policy::compile(&config, None).map_err(|problems| format!("{problems:?}"))?;

    // Text may be cut anywhere, also inside a card number: a stream masker holds back what the
    // next piece could still turn into something to mask.
    let mut masker = Arc::new(policy).stream(Sink::Client);
    let (mut piece, mut masked) = (vec![0; 16 * 1024], Vec::new());
    loop {
        let read = stdin().read(&mut piece)?;
        if read == 0 {
            break;
        }
        masker.push(piece.get(..read).unwrap_or_default(), &mut masked);
        stdout().write_all(&masked)?;
        stdout().flush()?;
        masked.clear();
    }
    masker.finish(&mut masked);
    stdout().write_all(&masked)?;

    for (entity, count) in masker.receipt().counts() {
        writeln!(stderr(), "{count} {}", entity.name())?;
    }
    Ok(())
}
