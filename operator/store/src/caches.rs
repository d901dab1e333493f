//! What a process keeps of its stores in memory: one budget, however many stores it has open.
//!
//! Each opened store has a number of its own in every key. The store's id would not do: whoever can write a bucket can
//! copy another's id and pack ids, and would find its bytes served to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use varve_format::PackLocation;

use crate::content::index::BlobIndex;
use crate::map::node::Node;

/// Decoded nodes: the upper levels of some hundred trees, or about 1,500 leaves.
const NODE_BYTES: u64 = 64 << 20;
/// Indexes of large files, and frames that small files share: this much of each.
const BLOB_BYTES: u64 = 32 << 20;
/// What nobody has asked for in this time goes, so that a quiet process is a small one.
const IDLE: Duration = Duration::from_mins(10);

/// Which opened store, and the whole place: one that somebody made up shares nothing, not even a failure, with the true
/// one of its offset.
pub(crate) type Key = (u64, PackLocation);

/// Caches that any number of stores share. Cheap to clone; clones are the same caches.
#[derive(Debug, Clone)]
pub struct Caches {
    pub(crate) nodes: Cache<Key, Arc<Node>>,
    pub(crate) indexes: Cache<Key, Arc<BlobIndex>>,
    pub(crate) frames: Cache<Key, Bytes>,
    opened: Arc<AtomicU64>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            nodes: Cache::builder()
                .max_capacity(NODE_BYTES)
                .time_to_idle(IDLE)
                .weigher(|_, node: &Arc<Node>| u32::try_from(node.weight()).unwrap_or(u32::MAX))
                .build(),
            indexes: Cache::builder()
                .max_capacity(BLOB_BYTES)
                .time_to_idle(IDLE)
                .weigher(|_, index: &Arc<BlobIndex>| u32::try_from(index.weight()).unwrap_or(u32::MAX))
                .build(),
            frames: Cache::builder()
                .max_capacity(BLOB_BYTES)
                .time_to_idle(IDLE)
                .weigher(|_, plain: &Bytes| u32::try_from(plain.len() + 64).unwrap_or(u32::MAX))
                .build(),
            opened: Arc::default(),
        }
    }
}

impl Caches {
    /// The number of a store that is being opened.
    pub(crate) fn next_store(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }
}
