//! Everything that is left to chance in a life, from its seed. Each part has a stream of its own, so that one more
//! draw of one changes none of another's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A stream of draws. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Arc<Mutex<fastrand::Rng>>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A stream of its own.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.draw(|rng| rng.u64(..)))
    }

    /// True once in `times`; never where that is 0.
    pub(crate) fn once_in(&self, times: u32) -> bool {
        times > 0 && self.draw(|rng| rng.u32(..times)) == 0
    }

    /// From 0 up to, and without, `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        if end == 0 { 0 } else { self.draw(|rng| rng.usize(..end)) }
    }

    /// From `-most` to `most`.
    pub(crate) fn within(&self, most: i64) -> i64 {
        self.draw(|rng| rng.i64(-most..=most))
    }

    /// One of these.
    pub(crate) fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// Up to this long; short ones are likelier.
    pub(crate) fn pause(&self, longest: Duration) -> Duration {
        let part = self.draw(fastrand::Rng::f64);
        longest.mul_f64(part * part * part)
    }
}
