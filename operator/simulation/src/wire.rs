//! One process's end of the wires to API server and bucket: how bad the weather is on them, and at which call the
//! process dies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::trace::Trace;

/// How bad the times are: once in how many calls each thing happens; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// A call fails and had no effect.
    pub(crate) before: u32,
    /// A call fails and had its effect all the same.
    pub(crate) after: u32,
    /// The API server turns a call away: too many, broken inside, a version that it knows no more.
    pub(crate) refused: u32,
    /// A watch ends, at each of its events.
    pub(crate) watch_ends: u32,
    /// A watch stands still for a while, at each of its events.
    pub(crate) watch_lags: u32,
    /// A list of the bucket lacks what was put a moment ago. In no life for now: FORMAT stands on lists that are whole, as
    /// those of S3, GCS and Azure are, and a branch that is compared with a stale one falls behind.
    pub(crate) stale_lists: u32,
    /// The longest that anything takes on its way.
    pub(crate) slow: Duration,
}

impl Weather {
    /// The weather of a life. A third of all lives have no faults of calls at all, so that kills and bad moments are
    /// also met by themselves.
    pub(crate) fn of(chance: &Chance) -> Self {
        let slow = Duration::from_millis([5, 50, 500, 3000][chance.below(4)]);
        if chance.once_in(3) {
            return Self { slow, ..Self::default() };
        }
        let rates = [10, 30, 100, 0];
        let rate = || rates[chance.below(rates.len())];
        Self {
            before: rate(),
            after: rate(),
            refused: rate(),
            watch_ends: rate(),
            watch_lags: rate(),
            stale_lists: 0,
            slow,
        }
    }
}

/// Successful writes by object, of all processes of a life. Leases and Events are nobody's object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeMap<String, u32>>>);

impl Ledger {
    /// One more write to this object.
    pub(crate) fn write(&self, object: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(object.to_owned()).or_default() += 1;
    }

    /// All writes so far.
    pub(crate) fn total(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Writes by object.
    pub(crate) fn by_object(&self) -> BTreeMap<String, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One process's end of the wires.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) weather: Weather,
    pub(crate) chance: Chance,
    pub(crate) ledger: Ledger,
    trace: Trace,
    /// Calls until the process dies at one of them; below 0 it never does.
    fuse: Arc<AtomicI64>,
    died: CancellationToken,
    is_calm: Arc<AtomicBool>,
    faults: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Well,
    /// It never arrives.
    FailsBefore,
    /// It takes effect, and its answer is lost.
    FailsAfter,
    /// It arrives, and is turned away.
    Refused,
    /// The process dies once it has taken effect.
    DiesAfter,
}

impl Wire {
    pub(crate) fn new(weather: Weather, chance: Chance, ledger: Ledger, trace: Trace) -> Self {
        Self {
            weather,
            chance,
            ledger,
            trace,
            fuse: Arc::new(AtomicI64::new(-1)),
            died: CancellationToken::new(),
            is_calm: Arc::default(),
            faults: Arc::default(),
            calls: Arc::default(),
        }
    }

    /// Lets the process die at its n-th call from now.
    pub(crate) fn die_at(&self, calls: usize) {
        self.fuse.store(i64::try_from(calls).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Kills the process now.
    fn die(&self) {
        self.died.cancel();
    }

    /// Done when the process has died.
    pub(crate) fn died(&self) -> CancellationToken {
        self.died.clone()
    }

    /// From now on nothing fails.
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        self.fuse.store(-1, Ordering::SeqCst);
    }

    /// Whether nothing fails any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// Calls that were made to fail.
    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Calls that were made.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits as long as anything takes on its way. A dead process waits for ever.
    pub(crate) async fn way(&self) {
        let slow = if self.is_calm() { Duration::from_millis(2) } else { self.weather.slow };
        tokio::time::sleep(self.chance.pause(slow)).await;
        if self.died.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// What becomes of the next call. A dead process never hears of it.
    pub(crate) async fn fate(&self, what: &str) -> Fate {
        if self.died.is_cancelled() {
            std::future::pending::<()>().await;
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.way().await;
        if self.is_calm() {
            return Fate::Well;
        }
        if self.fuse.load(Ordering::SeqCst) >= 0 && self.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            let has_effect = self.chance.once_in(2);
            self.trace.say("operator", format!("dies {} {what}", if has_effect { "after" } else { "before" }));
            if has_effect {
                return Fate::DiesAfter;
            }
            return self.die_here().await;
        }
        let (fate, word) = if self.chance.once_in(self.weather.before) {
            (Fate::FailsBefore, "before")
        } else if self.chance.once_in(self.weather.after) {
            (Fate::FailsAfter, "after")
        } else if self.chance.once_in(self.weather.refused) {
            (Fate::Refused, "instead of")
        } else {
            return Fate::Well;
        };
        self.faults.fetch_add(1, Ordering::SeqCst);
        self.trace.say("fault", format!("{word} {what}"));
        fate
    }

    /// Dies, once what was under way has taken effect.
    pub(crate) async fn die_here<T>(&self) -> T {
        self.die();
        std::future::pending().await
    }
}
