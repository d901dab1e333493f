//! A whole life of Varve in a fraction of a second: the real controllers over the small API server, a bucket and workers
//! that fail as real ones do, people who act at bad moments, and an operator that is killed at any call.
//!
//! Time is paused, so waiting costs nothing, and everything that is left to chance comes from one seed. At the end
//! the faults cease, everything comes to rest, and the [`laws`] are asked.

mod actors;
mod bucket;
mod chance;
mod clock;
mod laws;
mod network;
mod operator;
mod regressions;
mod trace;
mod wire;
mod witness;
mod worker;
mod world;

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;
pub use crate::regressions::{REGRESSIONS, Regression};
use crate::trace::Trace;
use crate::world::World;

/// How a life went.
#[derive(Debug, Clone)]
pub struct Life {
    /// The seed it came from.
    pub seed: u64,
    /// The laws that were broken, in words; none where all is well.
    pub broken: Vec<String>,
    /// What happened, in order.
    pub trace: Vec<String>,
    /// How much of it.
    pub counts: Counts,
}

/// How much happened in a life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operators that were killed.
    pub kills: u32,
    /// Calls of API and bucket that were made to fail.
    pub faults: u32,
    /// Calls of API and bucket in all.
    pub calls: u32,
    /// Commits that were acknowledged.
    pub commits: u32,
    /// Datums that workers ran.
    pub datums: u32,
    /// Seconds of simulated time.
    pub seconds: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, faults, calls, commits, datums, seconds } = self;
        write!(f, "{commits} commits, {datums} datums, {kills} kills, {faults} faults of {calls} calls in {seconds} s")
    }
}

/// Lives the life of this seed; where `is_told`, what happens is printed as it does. The first life of a process is the
/// same each time: on a thread of its own, whose hash maps and jitter come from the seed too.
pub fn live(seed: u64, is_told: bool) -> Life {
    let living = std::thread::spawn(move || {
        varve_simulated_randomness::seed_this_thread(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let life = runtime.block_on(whole(seed, is_told));
        runtime.shutdown_background();
        Ok(life)
    });
    let lived = living.join().unwrap_or_else(|_| Err("it panicked".to_owned()));
    lived.unwrap_or_else(|why| Life { seed, broken: vec![why], trace: Vec::new(), counts: Counts::default() })
}

/// How long a life may take, in simulated time: what has not come to rest by then never will.
const LONGEST: Duration = Duration::from_hours(24);

async fn whole(seed: u64, is_told: bool) -> Life {
    let world = World::new(Chance::new(seed), Trace::new(is_told));
    let broken = match tokio::time::timeout(LONGEST, Box::pin(world.live())).await {
        Ok(broken) => broken,
        Err(_) => vec!["it never comes to rest".to_owned()],
    };
    Life { seed, broken, trace: world.trace.lines(), counts: world.counts() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_without_faults_and_one_with_kills_keep_all_laws() {
        for seed in [1, 2] {
            let life = live(seed, false);
            assert!(life.broken.is_empty() && life.counts.datums > 0, "seed {seed}: {:?}", life.broken);
        }
    }
}
