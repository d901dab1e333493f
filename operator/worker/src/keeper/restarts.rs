//! Which ends of the user's container are waited out in the same pod, with its devices kept. Pure: the clock is passed in.
//!
//! Where Kubernetes has restart rules, kubelet starts a killed container again: at once the first time, then 10 s · 2ⁿ after
//! its end, and at once again after ten minutes without an end. From some number on a fresh pod is there sooner.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// Restarts in a row that are waited for: the tries that a datum has unless its Pipeline says otherwise. Kubelet makes
/// them after 0, 10 and 20 s; the fourth would take as long as all of them, and more.
const IN_A_ROW: u32 = 3;

/// How long without a restart kubelet remembers the last one: twice its longest wait.
const REMEMBERED: Duration = Duration::from_mins(10);

/// How long a container may take to be there again: the longest of the waits above, and its start on a busy node. Its
/// image is there already. A node whose kubelet is too old to know the rules costs this once.
pub(crate) const AGAIN_WITHIN: Duration = Duration::from_mins(2);

/// The restarts of one pod's container.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Restarts {
    /// Whether the container that ended now is waited for, which counts as a restart.
    pub(crate) fn is_waited_for(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.duration_since(last) > REMEMBERED) {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        self.in_a_row += 1;
        self.in_a_row <= IN_A_ROW
    }
}

/// Whether the stream ended as it does when the shim is killed, and no word of its own came before: a shim that ends by
/// itself is not started again.
pub(crate) fn was_killed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_restarts_in_a_row_are_waited_for_and_a_quiet_time_forgets_them() {
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_mins(minutes);
        let mut restarts = Restarts::default();
        let waited: Vec<bool> = [0, 1, 11, 12, 23, 24].map(|at| restarts.is_waited_for(after(at))).into();
        assert_eq!(waited, [true, true, true, false, true, true]);
    }

    #[test]
    fn a_shim_that_says_what_no_shim_says_was_not_killed() {
        assert!(was_killed(&ErrorKind::UnexpectedEof.into()));
        assert!(!was_killed(&Error::other("it said good-bye while a command ran")));
        assert!(!was_killed(&ErrorKind::InvalidData.into()));
    }
}
