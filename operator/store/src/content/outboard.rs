//! The BLAKE3 tree of a content above groups of 256 KiB, so that any range of it can be verified up to the content's
//! id. The bytes are those of `bao-tree`'s pre-order outboard with `BlockSize::from_chunk_log(8)`, without a length:
//! for each inner node, left subtrees first, the chaining values of its two children. 0.025 % of the content.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use varve_format::Hash;

/// Bytes of a group: 2⁸ chunks of BLAKE3.
pub(crate) const GROUP_BYTES: u64 = 256 << 10;
/// Bytes of one pair in the outboard.
const PAIR_BYTES: usize = 64;

/// Hashes a content as it streams by, and keeps a chaining value for each group.
pub(crate) struct Hashing {
    group: blake3::Hasher,
    in_group: u64,
    groups: Vec<ChainingValue>,
    size: u64,
}

/// What hashing a content gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) id: Hash,
    pub(crate) size: u64,
    /// Empty for a content of one group.
    pub(crate) outboard: Vec<u8>,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        Self { group: blake3::Hasher::new(), in_group: 0, groups: Vec::new(), size: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.in_group == GROUP_BYTES {
                self.end_group();
            }
            let room = usize::try_from(GROUP_BYTES - self.in_group).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.group.update(now);
            self.in_group += now.len() as u64;
            self.size += now.len() as u64;
            rest = later;
        }
    }

    pub(crate) fn finish(mut self) -> Hashed {
        if self.groups.is_empty() {
            return Hashed { id: self.group.finalize().into(), size: self.size, outboard: Vec::new() };
        }
        self.groups.push(self.group.finalize_non_root());
        let mut outboard = Vec::with_capacity((self.groups.len() - 1) * PAIR_BYTES);
        let id = root(&self.groups, self.size, &mut outboard);
        Hashed { id, size: self.size, outboard }
    }

    /// Ends a full group and begins the next.
    fn end_group(&mut self) {
        self.groups.push(self.group.finalize_non_root());
        // A new one: `reset` does not take the offset back.
        self.group = blake3::Hasher::new();
        self.group.set_input_offset(self.size);
        self.in_group = 0;
    }
}

/// Groups of a left subtree, of `groups` whose content has `size` bytes.
fn left_groups(size: u64) -> usize {
    usize::try_from(left_subtree_len(size) / GROUP_BYTES).unwrap_or(usize::MAX)
}

fn root(groups: &[ChainingValue], size: u64, outboard: &mut Vec<u8>) -> Hash {
    let (left, right) = children(groups, size, outboard);
    merge_subtrees_root(&left, &right, Mode::Hash).into()
}

fn children(groups: &[ChainingValue], size: u64, outboard: &mut Vec<u8>) -> (ChainingValue, ChainingValue) {
    let at = outboard.len();
    outboard.resize(at + PAIR_BYTES, 0);
    let (left_size, count) = (left_subtree_len(size), left_groups(size));
    let left = subtree(&groups[..count], left_size, outboard);
    let right = subtree(&groups[count..], size - left_size, outboard);
    outboard[at..at + 32].copy_from_slice(&left);
    outboard[at + 32..at + 64].copy_from_slice(&right);
    (left, right)
}

fn subtree(groups: &[ChainingValue], size: u64, outboard: &mut Vec<u8>) -> ChainingValue {
    if let [only] = groups {
        return *only;
    }
    let (left, right) = children(groups, size, outboard);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Checks an outboard against the id of its content, and returns the groups' chaining values; none if it does not match.
pub(crate) fn verify(id: &Hash, size: u64, outboard: &[u8]) -> Option<Vec<ChainingValue>> {
    let groups = usize::try_from(size.div_ceil(GROUP_BYTES)).ok()?;
    if groups < 2 {
        return outboard.is_empty().then(Vec::new);
    }
    if outboard.len() != (groups - 1).checked_mul(PAIR_BYTES)? {
        return None;
    }
    let mut leaves = Vec::with_capacity(groups);
    let mut pairs = outboard.chunks_exact(PAIR_BYTES);
    let (left, right) = next_pair(&mut pairs)?;
    if Hash::from(merge_subtrees_root(&left, &right, Mode::Hash)) != *id {
        return None;
    }
    let left_size = left_subtree_len(size);
    verify_below(&left, left_size, &mut pairs, &mut leaves)?;
    verify_below(&right, size - left_size, &mut pairs, &mut leaves)?;
    Some(leaves)
}

fn verify_below(
    expected: &ChainingValue,
    size: u64,
    pairs: &mut std::slice::ChunksExact<'_, u8>,
    leaves: &mut Vec<ChainingValue>,
) -> Option<()> {
    if size <= GROUP_BYTES {
        leaves.push(*expected);
        return Some(());
    }
    let (left, right) = next_pair(pairs)?;
    if merge_subtrees_non_root(&left, &right, Mode::Hash) != *expected {
        return None;
    }
    let left_size = left_subtree_len(size);
    verify_below(&left, left_size, pairs, leaves)?;
    verify_below(&right, size - left_size, pairs, leaves)
}

fn next_pair(pairs: &mut std::slice::ChunksExact<'_, u8>) -> Option<(ChainingValue, ChainingValue)> {
    let (left, right) = pairs.next()?.split_at(32);
    Some((left.try_into().ok()?, right.try_into().ok()?))
}

/// The chaining value of a group, from its bytes.
pub(crate) fn group_value(index: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * GROUP_BYTES);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

#[cfg(test)]
mod tests {
    use bao_tree::BlockSize;
    use bao_tree::io::outboard::PreOrderMemOutboard;

    use super::*;

    #[test]
    fn ids_and_outboards_are_those_of_b3sum_and_bao_tree() {
        let group = usize::try_from(GROUP_BYTES).expect("256 KiB");
        for size in
            [0, 1, group, group + 1, 2 * group, 2 * group + 1, 3 * group, 7 * group + 1023, 8 * group, 11 * group + 5]
        {
            let data: Vec<u8> = (0..=250).cycle().take(size).collect();
            let mut hashing = Hashing::new();
            data.chunks(100_000).for_each(|part| hashing.update(part));
            let hashed = hashing.finish();
            let theirs = PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(8));
            assert_eq!(hashed.id, Hash::of_content(&data), "id at {size}");
            assert_eq!(hashed.outboard, theirs.data, "outboard at {size}");
            let leaves = verify(&hashed.id, hashed.size, &hashed.outboard).expect("our own outboard verifies");
            for (index, value) in leaves.iter().enumerate() {
                let end = ((index + 1) * group).min(size);
                assert_eq!(&group_value(index as u64, &data[index * group..end]), value, "group {index} at {size}");
            }
        }
    }

    #[test]
    fn an_outboard_with_any_byte_changed_is_refused() {
        let data = vec![7; 5 << 18];
        let mut hashing = Hashing::new();
        hashing.update(&data);
        let hashed = hashing.finish();
        for at in 0..hashed.outboard.len() {
            let mut changed = hashed.outboard.clone();
            changed[at] ^= 1;
            assert_eq!(verify(&hashed.id, hashed.size, &changed), None, "byte {at}");
        }
        assert_eq!(verify(&hashed.id, hashed.size + GROUP_BYTES, &hashed.outboard), None);
    }
}
