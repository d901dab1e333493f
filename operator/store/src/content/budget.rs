//! Memory that reads of contents share: bytes fetched and not handed out yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a budget: four fetches of 4 MiB, stored and unpacked, and as much again for those who share it. A keeper of
/// 256 MiB stages within it.
const BUDGET_BYTES: u64 = 48 << 20;
/// What is counted in: a semaphore counts in 32 bits.
const UNIT_BYTES: u64 = 4 << 10;

/// A number of bytes, shared by its clones.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// Bytes taken from a budget: dropped, they are given back.
pub(crate) type Held = Option<OwnedSemaphorePermit>;

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(units(BUDGET_BYTES) as usize)))
    }

    /// Waits until so many bytes are free, in the order of asking. More than there are ever is all of them: what is that
    /// large is read alone.
    pub(crate) async fn take(&self, bytes: u64) -> Held {
        // Nobody closes the semaphore.
        self.0.clone().acquire_many_owned(units(bytes.min(BUDGET_BYTES))).await.ok()
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}
