//! Which datum runs next: plan order first, then what is tried again, once its pause is over.
//!
//! Pure: the clock is passed in. Never waits for a pause while another datum could run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest pause between two tries of one datum.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A datum of the shard that has no result yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its position in the shard.
    pub datum: usize,
    /// Tries used so far, in this pod and in those before it.
    pub tries_used: u32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run this datum.
    Ready(Waiting),
    /// Nothing can run before then.
    At(Instant),
    /// No datum is waiting.
    Empty,
}

/// The datums of a shard that wait to be run.
#[derive(Debug)]
pub(crate) struct Queue {
    fresh: VecDeque<Waiting>,
    paused: Vec<(Instant, Waiting)>,
}

impl Queue {
    /// A queue of datums, all ready at once.
    pub(crate) fn new(waiting: impl IntoIterator<Item = Waiting>) -> Self {
        Self { fresh: waiting.into_iter().collect(), paused: Vec::new() }
    }

    /// Takes what runs next.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let earliest = self.paused.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(i, (at, _))| (i, *at));
        match earliest {
            Some((position, at)) if at <= now => Next::Ready(self.paused.swap_remove(position).1),
            _ => match (self.fresh.pop_front(), earliest) {
                (Some(waiting), _) => Next::Ready(waiting),
                (None, Some((_, at))) => Next::At(at),
                (None, None) => Next::Empty,
            },
        }
    }

    /// Puts a datum back that was taken and has not begun.
    pub(crate) fn back(&mut self, waiting: Waiting) {
        self.fresh.push_front(waiting);
    }

    /// Puts a datum whose try failed back, with `tries_used` counting that try.
    pub(crate) fn again(&mut self, waiting: Waiting, now: Instant) {
        self.paused.push((now + pause(waiting.tries_used), waiting));
    }
}

/// 1 s after the first failed try, doubled after each further one, up to 30 s.
pub(crate) fn pause(tries_used: u32) -> Duration {
    let doublings = tries_used.saturating_sub(1).min(5);
    Duration::from_secs(1 << doublings).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(datum: usize, tries_used: u32) -> Waiting {
        Waiting { datum, tries_used }
    }

    #[test]
    fn pauses_double_from_one_second_to_thirty() {
        let seconds: Vec<u64> = (1..=8).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn another_datum_runs_during_a_pause_and_the_paused_one_comes_first_after_it() {
        let start = Instant::now();
        let mut queue = Queue::new([waiting(0, 0), waiting(1, 0), waiting(2, 0)]);
        assert_eq!(queue.next(start), Next::Ready(waiting(0, 0)));
        queue.again(waiting(0, 1), start);
        assert_eq!(queue.next(start), Next::Ready(waiting(1, 0)));
        let later = start + Duration::from_secs(1);
        assert_eq!(queue.next(later), Next::Ready(waiting(0, 1)));
        assert_eq!(queue.next(later), Next::Ready(waiting(2, 0)));
        assert_eq!(queue.next(later), Next::Empty);
    }

    #[test]
    fn what_has_not_begun_is_next_with_the_tries_that_it_had() {
        let start = Instant::now();
        let mut queue = Queue::new([waiting(0, 2), waiting(1, 0)]);
        let Next::Ready(taken) = queue.next(start) else { panic!("nothing is ready") };
        queue.back(taken);
        assert_eq!(queue.next(start), Next::Ready(waiting(0, 2)));
    }

    #[test]
    fn with_nothing_else_to_run_the_earliest_pause_is_waited_for() {
        let start = Instant::now();
        let mut queue = Queue::new([]);
        queue.again(waiting(7, 3), start);
        queue.again(waiting(8, 1), start);
        assert_eq!(queue.next(start), Next::At(start + Duration::from_secs(1)));
    }
}
