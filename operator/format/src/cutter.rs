//! Where the sorted keys of a level are cut into nodes.
//!
//! A cut depends on the keys since the last one and on nothing else, so a map's shape depends on its set of keys
//! alone: however a map came to be, equal content has equal ids. The probability of a cut grows with the third power
//! of the size, which keeps nodes near 2^15 bytes. Integer arithmetic only: `exp` differs between C libraries.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Added to a key's length for its nominal size, at every level.
pub const ROW_OVERHEAD: u64 = 64;
/// Below this nominal size a node is never cut.
pub const MIN_NODE: u64 = 1 << 13;
/// From this nominal size on a node is always cut.
pub const MAX_NODE: u64 = 1 << 17;

/// Decides after each key of one level whether the node ends there.
#[derive(Debug, Clone)]
pub struct Cutter {
    seed: u64,
    size: u64,
}

impl Cutter {
    /// A cutter at the start of a node of this level (leaves are level 0).
    pub fn new(level: u8) -> Self {
        Self { seed: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(level) + 1), size: 0 }
    }

    /// Takes the next key as stored; true if the node is cut after it. The size then starts at 0 again.
    pub fn push(&mut self, key: &[u8]) -> bool {
        let before = self.size;
        let after = before + key.len() as u64 + ROW_OVERHEAD;
        let is_cut = after >= MIN_NODE && (after >= MAX_NODE || self.falls_between(key, before, after));
        self.size = if is_cut { 0 } else { after };
        is_cut
    }

    /// Nominal size of the keys since the last cut.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the key's hash, as a fraction of 2^64, is below (after⁴ − before⁴) / (2^15)⁴.
    fn falls_between(&self, key: &[u8], before: u64, after: u64) -> bool {
        let fourth = |size: u64| u128::from(size).pow(4);
        u128::from(xxh3_64_with_seed(key, self.seed)) < (fourth(after) - fourth(before)) << 4
    }
}
