//! The text and byte formats: notes, checkpoints, keys, tile paths, bundles, proofs.
// Helpers of an integration test are test code, which the lint cannot see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use proptest::prelude::*;
use tlog::{
    BundleError, Checkpoint, CheckpointError, Hash, KeyError, NoteError, ProofPlan, ProofText,
    SignedNote, Signer, TileKind, TileNodes, TilePath, Verifier, decode_bundle, encode_bundle,
    leaf_hash, split_entry,
};

const ORIGIN: &str = "example.org/log";

fn signed() -> (Signer, Checkpoint, String) {
    let signer = Signer::generate(ORIGIN).unwrap();
    let head = Checkpoint { origin: ORIGIN.into(), size: 1234, root: leaf_hash(b"root") };
    let note = head.sign(&signer).unwrap();
    (signer, head, note)
}

#[test]
fn a_checkpoint_has_the_form_of_the_specification() {
    let (signer, head, note) = signed();
    let lines: Vec<_> = note.split('\n').collect();
    assert_eq!(lines[..2], [ORIGIN, "1234"]);
    assert_eq!(lines[2], head.root.to_base64());
    assert_eq!(lines[3], "");
    assert!(lines[4].starts_with(&format!("\u{2014} {ORIGIN} ")));
    assert_eq!(lines[5..], [""]);
    assert_eq!(Checkpoint::open(note.as_bytes(), signer.verifier()).unwrap(), head);
    let sig = head.signature(&signer);
    head.verify_signature(signer.verifier(), &sig).unwrap();
}

#[test]
fn every_flipped_bit_of_a_signed_checkpoint_is_refused() {
    let (signer, _, note) = signed();
    for at in 0..note.len() * 8 {
        let mut bytes = note.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(Checkpoint::open(&bytes, signer.verifier()).is_err(), "bit {at}");
    }
    for cut in 0..note.len() {
        assert!(Checkpoint::open(&note.as_bytes()[..cut], signer.verifier()).is_err());
    }
}

#[test]
fn another_log_s_checkpoint_is_refused_even_if_signed() {
    let (signer, mut head, _) = signed();
    head.origin = "example.org/other".into();
    let note = SignedNote::sign(&head.encode(), &[&signer]).unwrap().encode();
    let error = Checkpoint::open(note.as_bytes(), signer.verifier()).unwrap_err();
    assert!(matches!(error, CheckpointError::Origin { .. }));
}

#[test]
fn unknown_signatures_are_ignored_and_known_ones_must_hold() {
    let (signer, head, _) = signed();
    let witness = Signer::generate("witness.example").unwrap();
    let note = SignedNote::sign(&head.encode(), &[&witness, &signer]).unwrap();
    let note = SignedNote::parse(note.encode().as_bytes()).unwrap();
    let log = signer.verifier().clone();
    assert_eq!(note.verify(std::slice::from_ref(&log)).unwrap(), [&log]);
    let both = [log.clone(), witness.verifier().clone()];
    assert_eq!(note.verify(&both).unwrap().len(), 2);
    let stranger = Signer::generate("stranger").unwrap();
    assert_eq!(note.verify(&[stranger.verifier().clone()]), Err(NoteError::Unsigned));
    assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));

    // A good signature by the log does not excuse a bad one by a known witness.
    let other = SignedNote::sign("other text\n", &[&witness]).unwrap().encode();
    let bad_line = other.lines().last().unwrap();
    let mixed = format!("{}{bad_line}\n", head.sign(&signer).unwrap());
    let mixed = SignedNote::parse(mixed.as_bytes()).unwrap();
    assert!(mixed.verify(std::slice::from_ref(&log)).is_ok());
    assert!(matches!(mixed.verify(&both), Err(NoteError::Key(KeyError::Signature(_)))));
}

#[test]
fn sixteen_signatures_and_no_more() {
    let (_, head, _) = signed();
    let keys: Vec<_> = (0..17).map(|i| Signer::generate(&format!("w{i}")).unwrap()).collect();
    let all: Vec<_> = keys.iter().collect();
    let note = SignedNote::sign(&head.encode(), &all[..16]).unwrap().encode();
    assert_eq!(SignedNote::parse(note.as_bytes()).unwrap().signatures().len(), 16);
    assert_eq!(SignedNote::sign(&head.encode(), &all), Err(NoteError::TooManySignatures));
    let line = note.lines().last().unwrap();
    let more = format!("{note}{line}\n");
    assert_eq!(SignedNote::parse(more.as_bytes()), Err(NoteError::TooManySignatures));
}

#[test]
fn malformed_notes_and_checkpoints_are_refused() {
    for note in [
        "",
        "\n",
        "\n\n",
        "a\n\n",
        "a\nb\n",
        "a\n\n\u{2014} x\n",
        "a\n\n\u{2014} x !!!!\n",
        "a\n\n\u{2014} x AAAAAA==\n",
        "a\n\n- x AAAAAAAA\n",
        "a\t\n\n\u{2014} x AAAAAAAA\n",
        "a\n\n\u{2014} x AAAAAAAA",
        "a\n\n\u{2014} x+y AAAAAAAA\n",
        "a\n\n\u{2014}  AAAAAAAA\n",
    ] {
        assert!(SignedNote::parse(note.as_bytes()).is_err(), "{note:?}");
    }
    assert!(SignedNote::parse(b"\xff\n\n\xe2\x80\x94 x AAAAAAAA\n").is_err());
    assert!(SignedNote::parse("a\n\n\u{2014} x AAAAAAAA\n".as_bytes()).is_ok());
    let root = Hash::EMPTY_ROOT.to_base64();
    for text in [
        String::new(),
        "o\n1\n".into(),
        format!("o\n1\n{root}"),
        format!("\n1\n{root}\n"),
        format!("o\n01\n{root}\n"),
        format!("o\n+1\n{root}\n"),
        format!("o\n-1\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n9223372036854775808\n{root}\n"),
        "o\n1\nAAAA\n".into(),
        format!("o\n1\n{root}\n\n"),
        format!("o\n1\n {root}\n"),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
    assert_eq!(Checkpoint::parse(&format!("o\n0\n{root}\nextension\n")).unwrap().size, 0);
}

#[test]
fn keys_round_trip_and_secrets_stay_out_of_debug() {
    let signer = Signer::generate(ORIGIN).unwrap();
    let vkey = signer.verifier().to_string();
    assert_eq!(vkey.parse::<Verifier>().unwrap(), *signer.verifier());
    let der = signer.to_pkcs8().unwrap();
    let again = Signer::from_pkcs8(ORIGIN, der.expose()).unwrap();
    assert_eq!(again.verifier(), signer.verifier());
    assert_eq!(again.sign(b"text"), signer.sign(b"text"));
    assert_eq!(format!("{der:?}"), "***");
    assert!(format!("{signer:?}").contains("***"));

    for bad in ["", "a", "a+b", "+00000000+AA==", "a+0000000g+AA==", "a+00000000+"] {
        assert!(bad.parse::<Verifier>().is_err(), "{bad:?}");
    }
    let wrong_name = vkey.replacen("example", "exbmple", 1);
    assert_eq!(wrong_name.parse::<Verifier>(), Err(KeyError::Id));
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
        assert!(matches!(Signer::generate(name), Err(KeyError::Name)), "{name:?}");
    }
    assert!(matches!(Signer::from_pkcs8("a", b"junk"), Err(KeyError::Private)));
}

#[test]
fn tile_paths_are_those_of_c2sp() {
    for (path, kind, index, width) in [
        ("tile/0/000", TileKind::Hashes(0), 0, 256),
        ("tile/0/x001/x234/067", TileKind::Hashes(0), 1_234_067, 256),
        ("tile/63/999.p/1", TileKind::Hashes(63), 999, 1),
        ("tile/1/x001/000.p/255", TileKind::Hashes(1), 1000, 255),
        ("tile/entries/000.p/12", TileKind::Entries, 0, 12),
        ("tile/entries/x001/x234/067", TileKind::Entries, 1_234_067, 256),
    ] {
        let tile = TilePath::new(kind, index, width).unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse::<TilePath>(), Ok(tile));
    }
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/1000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/8/0/000",
        "tile/0/xx01/000",
        "tile/0/000.p/1.p/1",
        "/tile/0/000",
        "tile/data/000",
    ] {
        assert!(bad.parse::<TilePath>().is_err(), "{bad:?}");
    }
    assert!(TilePath::new(TileKind::Entries, 0, 0).is_none());
    assert!(TilePath::new(TileKind::Hashes(64), 0, 1).is_none());
}

#[test]
fn bundles_refuse_what_does_not_fit() {
    let long = vec![0u8; 65_536];
    assert_eq!(encode_bundle(&[&long]), Err(BundleError::EntryTooLong(65_536)));
    assert_eq!(encode_bundle(&vec![b""; 257]), Err(BundleError::TooMany));
    let bytes = encode_bundle(&[&long[1..], b"", b"x"]).unwrap();
    assert_eq!(decode_bundle(&bytes, 3).unwrap(), [&long[1..], b"", b"x"]);
    assert_eq!(decode_bundle(&bytes, 2), Err(BundleError::Trailing(3)));
    assert_eq!(decode_bundle(&bytes, 4), Err(BundleError::Truncated(3)));
    for cut in 0..bytes.len() {
        assert!(decode_bundle(&bytes[..cut], 3).is_err());
    }
    assert_eq!(split_entry(b"\0"), None);
}

#[test]
fn a_proof_file_is_checked_offline() {
    let signer = Signer::generate(ORIGIN).unwrap();
    let leaves: Vec<_> = (0..5u8).map(|i| leaf_hash(&[i])).collect();
    let mut nodes = TileNodes::default();
    let tile = TilePath::in_tree(TileKind::Hashes(0), 0, 5).unwrap();
    nodes.insert(tile, leaves.clone());
    let head = Checkpoint { origin: ORIGIN.into(), size: 5, root: tlog::tile_root(&leaves) };
    let hashes = ProofPlan::inclusion(3, 5).unwrap().assemble(&nodes).unwrap();
    let file = ProofText { index: 3, hashes, checkpoint: head.sign(&signer).unwrap() };
    let text = file.encode();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 3\n"));
    let read = ProofText::parse(&text).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.verify(&leaves[3], signer.verifier()).unwrap(), head);
    assert!(read.verify(&leaves[2], signer.verifier()).is_err());
    let stranger = Signer::generate(ORIGIN).unwrap();
    assert!(read.verify(&leaves[3], stranger.verifier()).is_err());
    let extra = text.replacen("index", "extra AAAA\nindex", 1);
    assert_eq!(ProofText::parse(&extra).unwrap(), file);
    for bad in [text.replacen("v1", "v2", 1), text.replacen("index 3", "index 03", 1)] {
        assert!(ProofText::parse(&bad).is_err());
    }
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0u8..64, index: u64, width in 1u16..=256, entries: bool) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
        let tile = TilePath::new(kind, index, width).unwrap();
        prop_assert_eq!(tile.to_string().parse::<TilePath>(), Ok(tile));
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes, entries.len() as u16).unwrap(), entries);
    }

    #[test]
    fn parsers_never_panic_and_accept_only_what_they_print(text in "(\\PC|\n){0,200}") {
        if let Ok(note) = SignedNote::parse(text.as_bytes()) {
            prop_assert_eq!(SignedNote::parse(note.encode().as_bytes()).unwrap(), note);
        }
        let _ = Checkpoint::parse(&text);
        let _ = ProofText::parse(&text);
        let _ = text.parse::<Verifier>();
        if let Ok(tile) = text.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }
}
