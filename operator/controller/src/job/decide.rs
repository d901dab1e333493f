//! What a Job does next: a pure function of what was seen, asked again after every step.
//!
//! There is no state machine to fall out of step: whatever was killed at whatever line, the next look at
//! the branch, the batch Jobs, the pods and the results in the store leads to the same step again.

use std::time::Duration;

use jiff::Timestamp;
use varve_api::conditions::Reason;

/// Replacements of one index after which a fresh batch Job takes over, as soon as no other pod is at work that it
/// would stop: Kubernetes waits 10 s · 2ⁿ before each, ignored failures included, and a fresh one starts at once.
pub(crate) const REPLACEMENTS_BORNE: u32 = 2;
/// How long pods that can't start may hold the nodes that they were given. A node tries to pull an image after 10, 20, 40,
/// 80 and 160 s more, so by then it has tried six times; what mends it later is found after the pause, by fresh pods.
pub(crate) const HELD_UP_BORNE: Duration = Duration::from_mins(5);
/// How long pods may stay about after the Job has ended before their batch Job is deleted.
pub(crate) const LINGER: Duration = Duration::from_secs(20);

/// Everything that decides a Job's next step.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are seen, each independent of the others")]
pub(crate) struct Seen {
    /// The time.
    pub(crate) now: Timestamp,
    /// The Job's status already says how it ended.
    pub(crate) has_ended: bool,
    /// When it ended, where it did.
    pub(crate) ended: Option<Timestamp>,
    /// The namespace, or the Job itself, is being deleted.
    pub(crate) is_going: bool,
    /// `spec.suspend` of the Job or its Pipeline.
    pub(crate) is_suspended: bool,
    /// `spec.cancel`.
    pub(crate) is_cancelled: bool,
    /// When `timeoutSeconds` runs out.
    pub(crate) deadline: Option<Timestamp>,
    /// The Job's commit is on the output branch.
    pub(crate) is_published: bool,
    /// Its batch Jobs.
    pub(crate) batches: Vec<Batch>,
    /// The highest number of a batch Job that is known of, also of one that is gone.
    pub(crate) last_attempt: u32,
    /// Pods of any of its batch Jobs that have not ended.
    pub(crate) live_pods: u32,
    /// What is to be done; none before planning.
    pub(crate) work: Option<Work>,
    /// Planning was tried and can't be done: an end that is asked for goes without.
    pub(crate) is_unplannable: bool,
    /// No pod can ever do it: why.
    pub(crate) hopeless: Option<(Reason, String)>,
    /// Since when the pods of the newest batch Job hold nodes, can't start, and none of them is at work.
    pub(crate) held_up_since: Option<Timestamp>,
    /// Pods ran another image than the Job's, so nothing that they did counts: why.
    pub(crate) mismatch: Option<String>,
    /// Before then no batch Job is made, since the last ones ended no datum.
    pub(crate) next_start: Option<Timestamp>,
}

/// One batch Job of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The `n` of its name.
    pub(crate) attempt: u32,
    /// How it stands.
    pub(crate) state: BatchState,
    /// The most replacements that any index has had.
    pub(crate) replacements: u32,
    /// Pods that are at work.
    pub(crate) running: u32,
    /// Pods that were to be gone and are not: their node doesn't answer, and Kubernetes replaces none of them.
    pub(crate) lost: u32,
}

impl Batch {
    /// Whether a fresh one would do better.
    fn is_worn(&self) -> bool {
        self.running == 0 && (self.replacements >= REPLACEMENTS_BORNE || self.lost > 0)
    }
}

/// How a batch Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// At work, or about to be.
    Active,
    /// It says that it completed; the store knows better.
    Complete,
    /// It gave up.
    Failed,
    /// It is being deleted.
    Going,
}

/// The datums of a Job, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Datums that had to be run.
    pub(crate) to_run: u64,
    /// Those with a recorded end, good or bad.
    pub(crate) ended: u64,
    /// Those that ended badly.
    pub(crate) failed: u64,
    /// The results were listed after the last pod was gone: the list is whole.
    pub(crate) is_settled: bool,
}

impl Work {
    /// Datums without a recorded end.
    pub(crate) fn left(self) -> u64 {
        self.to_run - self.ended
    }
}

/// Why a Job ends without an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Datums failed.
    Datums,
    /// `spec.cancel`.
    Cancelled,
    /// `timeoutSeconds`.
    TimedOut,
    /// No pod can ever do it; why.
    Hopeless(Reason, String),
    /// Pods ran another image than the Job's; which.
    Mismatch(String),
    /// It can't be planned or merged, ever; why.
    Never(Reason, String),
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Find out what there is to do.
    Plan,
    /// Make batch Job `n` over what is left.
    Start(u32),
    /// Delete batch Jobs, all of them.
    Stop(Stop),
    /// Nothing until something changes, or until then at the latest.
    Wait(Wait),
    /// List the results once more: the pods are gone, so the list is whole.
    Settle,
    /// All datums are accounted for: merge and publish.
    Merge,
    /// The commit is on the branch: bring the API up to it.
    Announce,
    /// End without an output.
    Fail(Failure),
    /// Nothing, ever again.
    Rest,
}

/// Why batch Jobs are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The namespace or the Job goes away.
    Going,
    /// Suspended.
    Suspended,
    /// The Job will fail.
    Ending,
    /// A fresh one takes over.
    Replaced,
    /// Its pods can't start, and others could use the nodes that they hold; a fresh one comes after a pause.
    CannotStart,
    /// The Job has ended, and its pods have not.
    Lingering,
}

/// What a Job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its pods are at work.
    Pods,
    /// Its pods are stopping.
    Stopping,
    /// Somebody suspended it.
    Resumption,
    /// Its pods leaving, after its end.
    Linger(Duration),
    /// A pause, since the last pods ended no datum.
    Pause(Duration),
}

/// The next step of a Job.
pub(crate) fn next(seen: &Seen) -> Next {
    let at_work = seen.batches.iter().any(|batch| batch.state == BatchState::Active);
    let about = at_work || seen.live_pods > 0;
    if seen.is_going {
        return if at_work { Next::Stop(Stop::Going) } else { Next::Rest };
    }
    if seen.has_ended {
        return after_the_end(seen, about);
    }
    if seen.is_published {
        return Next::Announce;
    }
    let Some(work) = seen.work else { return unplanned(seen, at_work) };
    if work.left() == 0 {
        return if work.failed > 0 { Next::Fail(Failure::Datums) } else { Next::Merge };
    }
    if let Some(failure) = ending(seen) {
        return if at_work {
            Next::Stop(Stop::Ending)
        } else if seen.live_pods > 0 {
            Next::Wait(Wait::Stopping)
        } else if work.is_settled {
            Next::Fail(failure)
        } else {
            Next::Settle
        };
    }
    if seen.is_suspended {
        return suspended(at_work);
    }
    run(seen, work)
}

/// The step before there is a plan. What ends a Job needs one only to gather what is done.
fn unplanned(seen: &Seen, at_work: bool) -> Next {
    match ending(seen) {
        Some(_) if at_work => Next::Stop(Stop::Ending),
        Some(_) if seen.live_pods > 0 => Next::Wait(Wait::Stopping),
        Some(failure) if seen.is_unplannable => Next::Fail(failure),
        None if seen.is_suspended => suspended(at_work),
        _ => Next::Plan,
    }
}

/// What can be done, and must be, where the store can't be opened: stop pods that are to stop.
pub(crate) fn without_store(seen: &Seen) -> Option<Stop> {
    let at_work = seen.batches.iter().any(|batch| batch.state == BatchState::Active);
    match ending(seen) {
        _ if !at_work => None,
        Some(_) => Some(Stop::Ending),
        None => seen.is_suspended.then_some(Stop::Suspended),
    }
}

/// The step while datums are left and nothing ends the Job.
fn run(seen: &Seen, work: Work) -> Next {
    let Some(newest) = seen.batches.iter().max_by_key(|batch| batch.attempt) else {
        // Pods without a batch Job are being collected; what they record is not lost.
        return match (seen.live_pods, work.is_settled) {
            (0, true) => start(seen, seen.last_attempt + 1),
            (0, false) => Next::Settle,
            _ => Next::Wait(Wait::Stopping),
        };
    };
    match newest.state {
        BatchState::Active if newest.is_worn() => Next::Stop(Stop::Replaced),
        BatchState::Active if newest.running == 0 && is_held_up_too_long(seen) => Next::Stop(Stop::CannotStart),
        BatchState::Active => Next::Wait(Wait::Pods),
        _ if seen.live_pods > 0 => Next::Wait(Wait::Stopping),
        _ if !work.is_settled => Next::Settle,
        _ => start(seen, newest.attempt + 1),
    }
}

fn is_held_up_too_long(seen: &Seen) -> bool {
    let held_up = seen.held_up_since.and_then(|since| Duration::try_from(seen.now.duration_since(since)).ok());
    held_up.is_some_and(|held_up| held_up >= HELD_UP_BORNE)
}

fn start(seen: &Seen, attempt: u32) -> Next {
    let pause = seen.next_start.and_then(|next| Duration::try_from(next.duration_since(seen.now)).ok());
    match pause {
        Some(pause) if !pause.is_zero() => Next::Wait(Wait::Pause(pause)),
        _ => Next::Start(attempt),
    }
}

/// What ends the Job without an output though datums are left.
pub(crate) fn ending(seen: &Seen) -> Option<Failure> {
    if seen.is_cancelled {
        return Some(Failure::Cancelled);
    }
    if seen.deadline.is_some_and(|deadline| seen.now >= deadline) {
        return Some(Failure::TimedOut);
    }
    let mismatch = seen.mismatch.clone().map(Failure::Mismatch);
    mismatch.or_else(|| seen.hopeless.clone().map(|(reason, why)| Failure::Hopeless(reason, why)))
}

fn suspended(at_work: bool) -> Next {
    if at_work { Next::Stop(Stop::Suspended) } else { Next::Wait(Wait::Resumption) }
}

fn after_the_end(seen: &Seen, about: bool) -> Next {
    if !about {
        return Next::Rest;
    }
    let lingered = seen
        .ended
        .map_or(Duration::ZERO, |ended| Duration::try_from(seen.now.duration_since(ended)).unwrap_or_default());
    match LINGER.checked_sub(lingered) {
        Some(left) if !left.is_zero() => Next::Wait(Wait::Linger(left)),
        _ if seen.batches.iter().any(|batch| batch.state == BatchState::Active) => Next::Stop(Stop::Lingering),
        _ => Next::Rest,
    }
}

/// How long to wait before a running Job's results are listed again: a twentieth of its age, so that its
/// end is noticed within 5 % of its length, and so that a long Job costs few listings.
pub(crate) fn next_look(age: Duration) -> Duration {
    (age / 20).clamp(Duration::from_millis(300), Duration::from_secs(10))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
