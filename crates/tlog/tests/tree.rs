//! The tree, its tiles and its proofs, against a naive recursion straight from RFC 6962 and
//! against the `ct-merkle` crate.
// Helpers of an integration test are test code, which the lint cannot see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use ct_merkle::RootHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog::{
    CompactRange, Frontier, Hash, ProofPlan, TileKind, TileNodes, TilePath, decode_tile, leaf_hash,
    new_tiles, node_hash, verify_consistency, verify_inclusion,
};

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(format!("entry {i}").as_bytes())).collect()
}

/// `MTH(D[n])`, word for word.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => Hash::EMPTY_ROOT,
        1 => leaves[0],
        n => {
            let k = split(n);
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `PATH(m, D[n])`, word for word.
fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (mut path, other) = if m < k {
        (naive_path(m, &leaves[..k]), &leaves[k..])
    } else {
        (naive_path(m - k, &leaves[k..]), &leaves[..k])
    };
    path.push(naive_root(other));
    path
}

/// `SUBPROOF(m, D[n], b)`, word for word.
fn naive_subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = split(leaves.len());
    let (mut proof, other) = if m <= k {
        (naive_subproof(m, &leaves[..k], whole), &leaves[k..])
    } else {
        (naive_subproof(m - k, &leaves[k..], false), &leaves[..k])
    };
    proof.push(naive_root(other));
    proof
}

/// All tiles that a log publishes which stops at each of `sizes`.
fn publish(leaves: &[Hash], sizes: &[u64]) -> (BTreeMap<TilePath, Vec<u8>>, Frontier) {
    let mut tiles = BTreeMap::new();
    let mut edge = Frontier::new();
    for size in sizes {
        let before = edge.size();
        for leaf in &leaves[before as usize..*size as usize] {
            edge.push(*leaf, |path, bytes| {
                assert!(tiles.insert(path, bytes).is_none(), "{path} written twice");
            });
        }
        for (path, bytes) in edge.partial_tiles(before) {
            assert!(tiles.insert(path, bytes).is_none(), "{path} written twice");
        }
    }
    (tiles, edge)
}

fn tiles_at(tiles: &BTreeMap<TilePath, Vec<u8>>, plan: &ProofPlan) -> TileNodes {
    let mut nodes = TileNodes::default();
    for path in plan.tiles() {
        nodes.insert(path, decode_tile(&tiles[&path], path.width()).unwrap());
    }
    nodes
}

#[test]
fn roots_agree_with_the_rfc_and_with_ct_merkle() {
    let all = leaves(600);
    let mut range = CompactRange::new();
    let mut second: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    for (i, leaf) in all.iter().enumerate() {
        range.push(*leaf);
        second.push(format!("entry {i}").into_bytes());
        let root: RootHash<Sha256> = second.root();
        assert_eq!(range.root().0.as_slice(), root.as_bytes().as_slice());
        assert_eq!(range.root(), naive_root(&all[..=i]));
        assert_eq!(CompactRange::from_bytes(&range.to_bytes()).unwrap(), range);
    }
}

#[test]
fn proofs_of_small_trees_are_exactly_those_of_the_rfc() {
    let all = leaves(70);
    for n in 1..=all.len() {
        let (tiles, edge) = publish(&all, &[n as u64]);
        let root = naive_root(&all[..n]);
        assert_eq!(edge.root(), root);
        for m in 0..n {
            let plan = ProofPlan::inclusion(m as u64, n as u64).unwrap();
            let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
            assert_eq!(proof, naive_path(m, &all[..n]));
            verify_inclusion(&proof, m as u64, &all[m], n as u64, &root).unwrap();
        }
        for m in 0..=n {
            let plan = ProofPlan::consistency(m as u64, n as u64).unwrap();
            let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
            if m > 0 {
                assert_eq!(proof, naive_subproof(m, &all[..n], true), "{m} of {n}");
            }
            let old = naive_root(&all[..m]);
            verify_consistency(&proof, (m as u64, &old), (n as u64, &root)).unwrap();
        }
    }
}

#[test]
fn a_verifier_refuses_what_is_not_so() {
    let all = leaves(21);
    let (tiles, edge) = publish(&all, &[21]);
    let root = edge.root();
    let plan = ProofPlan::inclusion(9, 21).unwrap();
    let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
    for index in (0..21).filter(|i| *i != 9) {
        assert!(verify_inclusion(&proof, index, &all[9], 21, &root).is_err(), "index {index}");
    }
    assert!(verify_inclusion(&proof, 9, &all[8], 21, &root).is_err());
    assert!(verify_inclusion(&proof[1..], 9, &all[9], 21, &root).is_err());
    let longer = [&proof[..], &[root]].concat();
    assert!(verify_inclusion(&longer, 9, &all[9], 21, &root).is_err());
    assert!(verify_inclusion(&proof, 21, &all[9], 21, &root).is_err());
    assert!(ProofPlan::inclusion(21, 21).is_err());

    let plan = ProofPlan::consistency(13, 21).unwrap();
    let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
    let old = naive_root(&all[..13]);
    for size in (0..=22).filter(|n| *n != 13) {
        assert!(verify_consistency(&proof, (size, &old), (21, &root)).is_err(), "size {size}");
    }
    for cut in 0..proof.len() {
        assert!(verify_consistency(&proof[..cut], (13, &old), (21, &root)).is_err());
    }
    for at in 0..proof.len() {
        let mut wrong = proof.clone();
        wrong[at].0[0] ^= 1;
        assert!(verify_consistency(&wrong, (13, &old), (21, &root)).is_err());
    }
    assert!(verify_consistency(&[], (21, &old), (21, &root)).is_err());
    assert!(verify_consistency(&[], (0, &old), (21, &root)).is_err());
    assert!(ProofPlan::consistency(22, 21).is_err());
}

#[test]
fn tiles_of_a_deep_tree_hold_its_proofs() {
    // 65,536 + 256 + 44 leaves: three tile levels, all partial at the edge.
    let n = 65_836;
    let all = leaves(n);
    let (tiles, edge) = publish(&all, &[100, 5_000, 65_536, n]);
    assert_eq!(edge.root(), edge.compact_range().root());
    let mut range = CompactRange::new();
    all.iter().for_each(|leaf| range.push(*leaf));
    assert_eq!(range, edge.compact_range());
    for index in [0, 255, 256, 65_535, 65_536, n - 1] {
        let plan = ProofPlan::inclusion(index, n).unwrap();
        let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
        verify_inclusion(&proof, index, &all[index as usize], n, &edge.root()).unwrap();
    }
    for old in [1, 100, 5_000, 65_536, n] {
        let mut range = CompactRange::new();
        all[..old as usize].iter().for_each(|leaf| range.push(*leaf));
        let plan = ProofPlan::consistency(old, n).unwrap();
        let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
        verify_consistency(&proof, (old, &range.root()), (n, &edge.root())).unwrap();
    }
    let again = Frontier::from_tiles(n, |path| decode_tile(&tiles[&path], path.width()).ok());
    assert_eq!(again.unwrap(), edge);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn growing_in_steps_writes_what_new_tiles_names(steps in prop::collection::vec(1u64..700, 1..6)) {
        let mut sizes: Vec<u64> = Vec::new();
        for step in steps {
            sizes.push(sizes.last().unwrap_or(&0) + step);
        }
        let all = leaves(*sizes.last().unwrap());
        let (tiles, edge) = publish(&all, &sizes);
        let mut named = Vec::new();
        let mut before = 0;
        for size in &sizes {
            named.extend(new_tiles(before, *size).filter(|p| p.kind() != TileKind::Entries));
            before = *size;
        }
        named.sort_unstable();
        prop_assert_eq!(named, tiles.keys().copied().collect::<Vec<_>>());
        prop_assert_eq!(edge.root(), naive_root(&all));
        // Every stop of the way can still be taken up again from the tiles.
        for size in sizes {
            let edge = Frontier::from_tiles(size, |p| decode_tile(tiles.get(&p)?, p.width()).ok());
            prop_assert_eq!(edge.unwrap().root(), naive_root(&all[..size as usize]));
        }
    }

    #[test]
    fn proofs_hold_and_no_bit_of_them_may_change(
        n in 2u64..1500, a in 0.0f64..1.0, b in 0.0f64..1.0, flip in any::<u16>(),
    ) {
        let all = leaves(n);
        let (tiles, edge) = publish(&all, &[n]);
        let (index, old) = ((a * n as f64) as u64, 1 + (b * (n - 1) as f64) as u64);
        let root = edge.root();
        let plan = ProofPlan::inclusion(index, n).unwrap();
        let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
        let leaf = all[index as usize];
        prop_assert!(verify_inclusion(&proof, index, &leaf, n, &root).is_ok());
        let mut wrong = proof.clone();
        let at = usize::from(flip) % wrong.len();
        wrong[at].0[usize::from(flip >> 8) % 32] ^= 1 << (flip % 8);
        prop_assert!(verify_inclusion(&wrong, index, &leaf, n, &root).is_err());

        let plan = ProofPlan::consistency(old, n).unwrap();
        let proof = plan.assemble(&tiles_at(&tiles, &plan)).unwrap();
        let old_root = naive_root(&all[..old as usize]);
        prop_assert!(verify_consistency(&proof, (old, &old_root), (n, &root)).is_ok());
        if let Some(first) = proof.first() {
            let mut wrong = proof.clone();
            wrong[0] = node_hash(first, first);
            prop_assert!(verify_consistency(&wrong, (old, &old_root), (n, &root)).is_err());
        }
    }
}
