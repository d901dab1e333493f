//! What a run's end means for its datum. Pure.

use std::io;

use varve_api::show::size;

use super::error::{is_full, is_lasting};
use crate::protocol::{Ended, Memory, Outcome};

/// What a run's end means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The output counts, if it can be imported.
    Succeeded,
    /// A try is used.
    Failed(TryFailure),
    /// The pod is being stopped: the run never happened, and no try is used.
    Stopped,
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TryFailure {
    /// `CamelCase`, from a bounded set.
    pub reason: &'static str,
    /// For the datum's log and tail, where the user's code said nothing itself.
    pub message: String,
    /// No further try in this pod could end otherwise.
    pub is_final: bool,
}

impl TryFailure {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message, is_final: false }
    }

    /// A failure that no further try could mend.
    pub(crate) fn last(reason: &'static str, message: String) -> Self {
        Self { reason, message, is_final: true }
    }

    /// The pod's own disk refused what a try needed of it. The kind first: a path may be longer than what is shown.
    pub(crate) fn disk(doing: &str, error: &io::Error) -> Self {
        let remedy = if is_full(error) {
            ": give the pod more room (container.resources, ephemeral-storage), or split the datum"
        } else {
            ""
        };
        Self {
            reason: "LocalDisk",
            message: format!("{doing}: {}{remedy}: {error}", error.kind()),
            is_final: is_lasting(error),
        }
    }

    /// A try that ended by the shim's being asked to stop, though nobody stops the pod.
    pub(crate) fn stopped_from_within() -> Self {
        let message = "a process of the container asked its main process, PID 1, to end (SIGTERM or SIGINT)";
        Self::new("ContainerLost", message.into())
    }

    /// The try that was under way when the shim died, which can't say any more how much memory was used: where that ran
    /// out, all that there was.
    pub(crate) fn shim_lost(memory_limit: Option<u64>) -> Self {
        let memory = memory_limit.map_or_else(|| "memory".to_owned(), |limit| format!("its {} of memory", size(limit)));
        let message = "the user's container ended while the datum ran";
        Self::new("ContainerLost", format!("{message}: it ran out of {memory}, or its main process was killed"))
    }
}

/// Judges a run. `accepted` are the exit codes that count as success beside 0.
pub(crate) fn judge(ended: &Ended, accepted: &[i32], timeout_seconds: Option<u64>) -> Verdict {
    if ended.outcome == Outcome::Stopped {
        return Verdict::Stopped;
    }
    if ended.oom_kills > 0 {
        // Also where the command exited 0: a shell may have swallowed its child's death.
        let message = "the kernel killed a process of the container for lack of memory";
        return Verdict::Failed(TryFailure::new("OutOfMemory", format!("{message}{}", used(ended.memory))));
    }
    match &ended.outcome {
        Outcome::Exited { code } if *code == 0 || accepted.contains(code) => Verdict::Succeeded,
        Outcome::Exited { code } => {
            Verdict::Failed(TryFailure::new("ExitCode", format!("the command exited with code {code}")))
        }
        Outcome::Signalled { signal } => {
            Verdict::Failed(TryFailure::new("Signalled", format!("the command was ended by signal {signal}")))
        }
        Outcome::TimedOut => {
            let limit = timeout_seconds.unwrap_or_default();
            let running = ended.running.join(", ");
            let running = if running.is_empty() { running } else { format!("; it was running: {running}") };
            Verdict::Failed(TryFailure::new(
                "TimedOut",
                format!("the command ran longer than datum.timeoutSeconds, {limit} s{running}"),
            ))
        }
        Outcome::NotStarted(failure) => {
            Verdict::Failed(TryFailure::last(failure.reason.as_str(), failure.message.clone()))
        }
        Outcome::Stopped => Verdict::Stopped,
    }
}

/// How much memory was used, as far as the kernel tells.
fn used(memory: Memory) -> String {
    let Memory { peak, limit } = memory;
    match (peak.map(size), limit.map(size)) {
        (Some(peak), Some(limit)) => format!(": {peak} were in use at most, of {limit}"),
        (None, Some(limit)) => format!(": it may use {limit}"),
        (Some(peak), None) => format!(": {peak} were in use at most"),
        (None, None) => String::new(),
    }
}

/// The exit code and signal that a record keeps.
pub(crate) fn exit_of(outcome: &Outcome) -> (Option<i32>, Option<i32>) {
    match outcome {
        Outcome::Exited { code } => (Some(*code), None),
        Outcome::Signalled { signal } => (None, Some(*signal)),
        Outcome::NotStarted(failure) => (Some(failure.code), None),
        Outcome::TimedOut | Outcome::Stopped => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{NotStarted, StartFailure};

    fn ended(outcome: Outcome, oom_kills: u64) -> Ended {
        let memory = Memory { peak: Some(66_060_288), limit: Some(67_108_864) };
        let running = vec!["sh -c /fit.sh".to_owned(), "python3 /fit.py".to_owned()];
        Ended { outcome, oom_kills, memory, running, started_ns: 1, ended_ns: 2, output_bytes: 3 }
    }

    fn reason(verdict: Verdict) -> Option<(&'static str, bool)> {
        match verdict {
            Verdict::Failed(failure) => Some((failure.reason, failure.is_final)),
            Verdict::Succeeded | Verdict::Stopped => None,
        }
    }

    #[test]
    fn zero_and_accepted_exit_codes_succeed_and_others_fail() {
        let judge = |code| judge(&ended(Outcome::Exited { code }, 0), &[3], None);
        assert_eq!((judge(0), judge(3)), (Verdict::Succeeded, Verdict::Succeeded));
        assert_eq!(reason(judge(1)), Some(("ExitCode", false)));
    }

    #[test]
    fn a_raised_count_of_kills_fails_also_a_clean_exit() {
        assert_eq!(reason(judge(&ended(Outcome::Exited { code: 0 }, 1), &[], None)), Some(("OutOfMemory", false)));
    }

    #[test]
    fn a_kill_for_memory_names_peak_and_limit_and_a_time_out_what_was_running() {
        let message = |outcome, kills| match judge(&ended(outcome, kills), &[], Some(9)) {
            Verdict::Failed(failure) => failure.message,
            verdict => panic!("{verdict:?}"),
        };
        let memory = message(Outcome::Signalled { signal: 9 }, 1);
        assert!(memory.ends_with("for lack of memory: 63 MiB were in use at most, of 64 MiB"), "{memory}");
        let time = message(Outcome::TimedOut, 0);
        assert!(time.ends_with("timeoutSeconds, 9 s; it was running: sh -c /fit.sh, python3 /fit.py"), "{time}");
        assert_eq!(used(Memory { peak: None, limit: Some(1024) }), ": it may use 1 KiB");
        assert_eq!(used(Memory::default()), "");
    }

    #[test]
    fn a_container_that_died_names_the_memory_that_it_had() {
        let message = |limit| TryFailure::shim_lost(limit).message;
        assert!(message(Some(67_108_864)).contains("it ran out of its 64 MiB of memory, or"), "{}", message(None));
        assert!(message(None).contains("it ran out of memory, or"), "{}", message(None));
    }

    #[test]
    fn a_stop_of_the_pod_is_no_failure_whatever_else_happened() {
        assert_eq!(judge(&ended(Outcome::Stopped, 1), &[], Some(9)), Verdict::Stopped);
    }

    #[test]
    fn a_command_that_is_not_there_is_not_tried_again() {
        let missing = NotStarted { reason: StartFailure::CommandNotFound, code: 127, message: "no /app".into() };
        assert_eq!(reason(judge(&ended(Outcome::NotStarted(missing), 0), &[], None)), Some(("CommandNotFound", true)));
    }

    #[test]
    fn a_full_disk_is_told_with_its_remedy_and_may_be_less_full_later() {
        let full = TryFailure::disk("stage inputs", &io::Error::from_raw_os_error(28)); // ENOSPC
        assert_eq!((full.reason, full.is_final), ("LocalDisk", false));
        assert!(full.message.contains("ephemeral-storage"), "{}", full.message);
        let long = TryFailure::disk("stage inputs", &io::Error::from_raw_os_error(36)); // ENAMETOOLONG
        assert!(long.is_final && !long.message.contains("room"), "{}", long.message);
    }
}
