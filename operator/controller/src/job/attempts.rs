//! How a Job's batch Jobs have fared, one after another: one that ended no datum makes the next one wait.
//!
//! Pods that always die would else be made anew without end and without a pause. Kept in memory alone: an operator
//! that starts makes one batch Job at once, and learns again.

use jiff::{SignedDuration, Timestamp};

/// The pause after the first batch Job that ended no datum, and the longest; it doubles between.
const PAUSE_SECONDS: (i64, i64) = (10, 300);

/// The batch Jobs since the last one that ended a datum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Ended datums when the newest was made; none where none was made in this life.
    ended_at_start: Option<u64>,
    /// Since when none of its pods is about.
    over_since: Option<Timestamp>,
    /// Those before it that ended no datum, in a row.
    barren: u32,
}

impl Attempts {
    /// A batch Job was made when so many datums had ended.
    pub(super) fn start(&mut self, ended: u64) {
        *self = Self { ended_at_start: Some(ended), over_since: None, barren: self.barren_with(ended) };
    }

    /// Pods were seen at work, or none.
    pub(super) fn see(&mut self, is_at_work: bool, now: Timestamp) {
        self.over_since = if is_at_work { None } else { self.over_since.or(Some(now)) };
    }

    /// When the next may be made, now that so many datums have ended; none: at once.
    pub(super) fn next_start(&self, ended: u64) -> Option<Timestamp> {
        let doublings = self.barren_with(ended).checked_sub(1)?;
        let (first, longest) = PAUSE_SECONDS;
        let pause = first.saturating_mul(1 << doublings.min(16)).min(longest);
        self.over_since?.checked_add(SignedDuration::from_secs(pause)).ok()
    }

    fn barren_with(&self, ended: u64) -> u32 {
        if self.ended_at_start == Some(ended) { self.barren.saturating_add(1) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds")
    }

    /// The pauses, in seconds, before the batch Jobs that follow ones after which so many datums had ended.
    fn pauses(ended: &[u64]) -> Vec<Option<i64>> {
        let mut attempts = Attempts::default();
        attempts.start(0);
        let next = |&ended: &u64| {
            attempts.see(true, at(50));
            attempts.see(false, at(100));
            attempts.see(false, at(105));
            let pause = attempts.next_start(ended).map(|next| next.as_second() - 100);
            attempts.start(ended);
            pause
        };
        ended.iter().map(next).collect()
    }

    #[test]
    fn an_attempt_that_ended_a_datum_is_followed_at_once() {
        assert_eq!(pauses(&[1, 5, 6]), [None, None, None]);
    }

    #[test]
    fn attempts_that_end_nothing_come_later_and_later_until_one_ends_something() {
        let seconds = [10, 20, 40, 80, 160, 300, 300].map(Some);
        assert_eq!(pauses(&[0; 7]), seconds);
        assert_eq!(pauses(&[0, 0, 3, 3]), [Some(10), Some(20), None, Some(10)]);
    }

    #[test]
    fn the_first_attempt_of_a_life_waits_for_nothing() {
        let mut attempts = Attempts::default();
        attempts.see(false, at(100));
        assert_eq!(attempts.next_start(0), None);
    }
}
