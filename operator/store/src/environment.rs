//! Clock and randomness, passed in: a test or a fixture that fixes them gets the same bytes every time.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{Builder, Uuid};

/// Where a store takes the time and new ids from.
pub trait Environment: Debug + Send + Sync + 'static {
    /// Nanoseconds since 1970, UTC.
    fn now_unix_ns(&self) -> i64;

    /// A new `UUIDv7`: packs, repos and stores are named by these.
    fn new_id(&self) -> Uuid;
}

/// The machine's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now_unix_ns(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A clock that advances a millisecond with each id, and ids that count: everything written is a function of what
/// was asked. For tests and fixtures.
#[derive(Debug)]
pub struct CountingEnvironment {
    start_unix_ms: u64,
    count: AtomicU64,
}

impl CountingEnvironment {
    /// Begins at this time.
    pub fn new(start_unix_ms: u64) -> Self {
        Self { start_unix_ms, count: AtomicU64::new(0) }
    }
}

impl Environment for CountingEnvironment {
    fn now_unix_ns(&self) -> i64 {
        let now_ms = self.start_unix_ms + self.count.load(Ordering::SeqCst);
        i64::try_from(now_ms * 1_000_000).unwrap_or(i64::MAX)
    }

    fn new_id(&self) -> Uuid {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&count.to_be_bytes());
        Builder::from_unix_timestamp_millis(self.start_unix_ms + count, &random).into_uuid()
    }
}
