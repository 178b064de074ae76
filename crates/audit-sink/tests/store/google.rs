//! Google's verifier, unmodified, on a log that we wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use audit_sink::store::Store;
use tlog::Signer;

use crate::support::{LOG, Memory, ORIGIN, publish};

fn fsck(program: &Path, folder: &Path, vkey: &str) -> (bool, String) {
    let run = Command::new(program).arg(folder).arg(vkey).output().unwrap();
    let text = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
#[ignore = "needs Go and its module proxy: run with --ignored"]
async fn google_s_fsck_agrees_with_us() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("fsck");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/go-fsck");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(source);
    assert!(build.status().unwrap().success());

    let store = Store::open(dir.path().join("store").to_str().unwrap()).unwrap();
    let log = store.log(LOG).unwrap();
    let signer = Signer::generate(ORIGIN).unwrap();
    publish(&log, &Memory::with(0), &signer, &[5, 300, 70_000]).await;
    let folder = dir.path().join("store/logs").join(LOG);
    let vkey = signer.verifier().to_string();
    let (good, said) = fsck(&program, &folder, &vkey);
    assert!(good, "{said}");

    let bundle = folder.join("tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let (good, said) = fsck(&program, &folder, &vkey);
    assert!(!good, "{said}");
}
