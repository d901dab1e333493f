//! The life's clock and its ids: simulated time, and ids from the seed.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::{Builder, Uuid};
use varve_store::Environment;

use crate::chance::Chance;

/// When every life begins: 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGIN: i64 = 1_767_225_600;

/// Clock and ids of one process of the life.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedEnvironment {
    begun: Instant,
    chance: Chance,
    /// How far this process's clock is off, in seconds.
    off: i64,
}

impl SimulatedEnvironment {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { begun: Instant::now(), chance, off: 0 }
    }

    /// The same world, seen by a process whose clock is off.
    pub(crate) fn with_clock_off(&self, seconds: i64) -> Arc<Self> {
        Arc::new(Self { chance: self.chance.fork(), off: seconds, ..self.clone() })
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.now_unix_ns())).unwrap_or_default()
    }
}

impl Environment for SimulatedEnvironment {
    fn now_unix_ns(&self) -> i64 {
        let since = i64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        (BEGIN + self.off).saturating_mul(1_000_000_000).saturating_add(since)
    }

    fn new_id(&self) -> Uuid {
        let mut random = [0; 10];
        for byte in &mut random {
            *byte = u8::try_from(self.chance.below(256)).unwrap_or_default();
        }
        let millis = u64::try_from(self.now_unix_ns() / 1_000_000).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}
