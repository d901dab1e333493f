//! Metadata written by a session and not yet uploaded: readable at once by everybody who shares the store, since the
//! next edit builds on it. Bounded by the packs in flight; dropped once its pack is durable, or its session ends.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use uuid::Uuid;

/// Plain bytes by pack and offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Arc<RwLock<HashMap<Uuid, HashMap<u64, Bytes>>>>);

impl Pending {
    pub(crate) fn insert(&self, pack: Uuid, offset: u64, plain: Bytes) {
        let mut packs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        packs.entry(pack).or_default().insert(offset, plain);
    }

    pub(crate) fn find(&self, pack: Uuid, offset: u64) -> Option<Bytes> {
        let packs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        packs.get(&pack)?.get(&offset).cloned()
    }

    /// Watches over what is pending of a pack: dropped, it forgets it.
    pub(crate) fn watch(&self, pack: Uuid) -> Watch {
        Watch { pending: self.clone(), pack }
    }
}

/// Held while a pack is on its way; however that ends, its bytes do not stay in memory.
#[derive(Debug)]
pub(crate) struct Watch {
    pending: Pending,
    pack: Uuid,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.pending.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.pack);
    }
}
