//! Files made by Go's `golang.org/x/mod/sumdb` (the program is beside them, in `golden/go`).
// Helpers of an integration test are test code, which the lint cannot see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use tlog::{
    Checkpoint, CompactRange, Frontier, Hash, ProofPlan, SignedNote, TileKind, TileNodes, TilePath,
    Verifier, decode_tile, leaf_hash, new_tiles, verify_consistency, verify_inclusion,
};

const LEAVES: u64 = 600;

fn leaf(i: u64) -> Hash {
    leaf_hash(format!("entry {i}").as_bytes())
}

/// Roots by size, the empty tree first.
fn roots() -> Vec<Hash> {
    let mut range = CompactRange::new();
    let mut roots = vec![range.root()];
    for i in 0..LEAVES {
        range.push(leaf(i));
        roots.push(range.root());
    }
    roots
}

/// The hash tiles of a log that stopped at each of `sizes`, with the size they were written at.
fn tiles(sizes: &[u64]) -> BTreeMap<TilePath, (u64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut edge = Frontier::new();
    for size in sizes {
        let before = edge.size();
        for i in before..*size {
            edge.push(leaf(i), |path, bytes| drop(all.insert(path, (*size, bytes))));
        }
        for (path, bytes) in edge.partial_tiles(before) {
            all.insert(path, (*size, bytes));
        }
    }
    all
}

fn assemble(plan: &ProofPlan, size: u64) -> Vec<Hash> {
    let all = tiles(&[size]);
    let mut nodes = TileNodes::default();
    for path in plan.tiles() {
        nodes.insert(path, decode_tile(&all[&path].1, path.width()).unwrap());
    }
    plan.assemble(&nodes).unwrap()
}

/// `size index hash...` lines.
fn proofs(text: &str) -> impl Iterator<Item = (u64, u64, Vec<Hash>)> {
    text.lines().map(|line| {
        let mut words = line.split(' ');
        let (size, at) = (words.next().unwrap(), words.next().unwrap());
        let hashes = words.map(|word| Hash::from_base64(word).unwrap()).collect();
        (size.parse().unwrap(), at.parse().unwrap(), hashes)
    })
}

#[test]
fn roots_are_those_of_go() {
    let ours = roots();
    let text = include_str!("golden/roots.txt");
    assert_eq!(text.lines().count() as u64, LEAVES);
    for line in text.lines() {
        let (size, root) = line.split_once(' ').unwrap();
        assert_eq!(ours[size.parse::<usize>().unwrap()].to_base64(), root, "size {size}");
    }
}

#[test]
fn inclusion_proofs_are_those_of_go() {
    let roots = roots();
    for (size, index, proof) in proofs(include_str!("golden/inclusion.txt")) {
        assert_eq!(assemble(&ProofPlan::inclusion(index, size).unwrap(), size), proof);
        verify_inclusion(&proof, index, &leaf(index), size, &roots[size as usize]).unwrap();
    }
}

#[test]
fn consistency_proofs_are_those_of_go() {
    let roots = roots();
    for (size, old, proof) in proofs(include_str!("golden/consistency.txt")) {
        assert_eq!(assemble(&ProofPlan::consistency(old, size).unwrap(), size), proof);
        let (old_root, root) = (roots[old as usize], roots[size as usize]);
        verify_consistency(&proof, (old, &old_root), (size, &root)).unwrap();
    }
}

#[test]
fn tiles_are_those_of_go() {
    let mut sizes: Vec<u64> = Vec::new();
    let mut lines: Vec<(u64, String, String)> = Vec::new();
    for line in include_str!("golden/tiles.txt").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let size = words[0].parse().unwrap();
        if sizes.last() != Some(&size) {
            sizes.push(size);
        }
        lines.push((size, words[1].to_owned(), words[2].to_owned()));
    }
    let mut named = Vec::new();
    let mut before = 0;
    for size in &sizes {
        for path in new_tiles(before, *size).filter(|p| p.kind() != TileKind::Entries) {
            named.push((*size, path.to_string()));
        }
        before = *size;
    }
    let theirs: Vec<_> = lines.iter().map(|(size, path, _)| (*size, path.clone())).collect();
    assert_eq!(named, theirs);
    let ours = tiles(&sizes);
    for (size, path, hash) in lines {
        let (at, bytes) = &ours[&path.parse().unwrap()];
        assert_eq!((*at, leaf_hash(bytes).to_base64()), (size, hash), "{path}");
    }
}

#[test]
fn a_note_signed_by_go_is_verified() {
    let key: Verifier = include_str!("golden/vkey.txt").trim_end().parse().unwrap();
    let note = include_str!("golden/checkpoint.txt");
    let head = Checkpoint::open(note.as_bytes(), &key).unwrap();
    assert_eq!((head.origin.as_str(), head.size), ("golden.example/log", LEAVES));
    assert_eq!(head.root, roots()[LEAVES as usize]);
    assert_eq!(SignedNote::parse(note.as_bytes()).unwrap().encode(), note);
    assert_eq!(format!("{key}\n"), include_str!("golden/vkey.txt"));
}
