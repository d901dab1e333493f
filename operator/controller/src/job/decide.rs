//! What a Job does next: a pure function of what was seen, asked again after every step.
//!
//! There is no state machine to fall out of step: whatever was killed at whatever line, the next look at
//! the branch, the batch Jobs, the pods and the results in the store leads to the same step again.

use std::time::Duration;

use jiff::Timestamp;
use varve_api::conditions::Reason;

/// Replacements of one index after which a fresh batch Job takes over: Kubernetes waits 10 s · 2ⁿ before
/// each, ignored failures included, and a fresh one starts at once.
pub(crate) const REPLACEMENTS_BORNE: u32 = 2;
/// How long pods may stay about after the Job has ended before their batch Job is deleted.
pub(crate) const LINGER: Duration = Duration::from_secs(20);
/// How long a batch Job that we made may be unknown to our cache before it counts as deleted by somebody.
pub(crate) const CACHE_LAG: Duration = Duration::from_secs(10);

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
}

/// How a batch Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// At work, or about to be.
    Active,
    /// It says that it completed; the store knows better.
    Complete,
    /// It gave up for a reason that a fresh one would not change.
    Hopeless(String),
    /// It failed otherwise.
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
    Hopeless(String),
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
    let Some(work) = seen.work else {
        return if seen.is_suspended && !seen.is_cancelled { suspended(at_work) } else { Next::Plan };
    };
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

/// The step while datums are left and nothing ends the Job.
fn run(seen: &Seen, work: Work) -> Next {
    let Some(newest) = seen.batches.iter().max_by_key(|batch| batch.attempt) else {
        // Pods without a batch Job are being collected; what they record is not lost.
        return match (seen.live_pods, work.is_settled) {
            (0, true) => Next::Start(seen.last_attempt + 1),
            (0, false) => Next::Settle,
            _ => Next::Wait(Wait::Stopping),
        };
    };
    match newest.state {
        BatchState::Active if newest.replacements >= REPLACEMENTS_BORNE => Next::Stop(Stop::Replaced),
        BatchState::Active => Next::Wait(Wait::Pods),
        _ if seen.live_pods > 0 => Next::Wait(Wait::Stopping),
        _ if !work.is_settled => Next::Settle,
        _ => Next::Start(newest.attempt + 1),
    }
}

/// What ends the Job without an output though datums are left.
fn ending(seen: &Seen) -> Option<Failure> {
    if seen.is_cancelled {
        return Some(Failure::Cancelled);
    }
    if seen.deadline.is_some_and(|deadline| seen.now >= deadline) {
        return Some(Failure::TimedOut);
    }
    let newest = seen.batches.iter().max_by_key(|batch| batch.attempt)?;
    match &newest.state {
        BatchState::Hopeless(why) => Some(Failure::Hopeless(why.clone())),
        _ => None,
    }
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
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn seen() -> Seen {
        Seen {
            now: START,
            has_ended: false,
            ended: None,
            is_going: false,
            is_suspended: false,
            is_cancelled: false,
            deadline: None,
            is_published: false,
            batches: Vec::new(),
            last_attempt: 0,
            live_pods: 0,
            work: None,
        }
    }

    fn work(to_run: u64, ended: u64, failed: u64) -> Work {
        Work { to_run, ended, failed, is_settled: false }
    }

    fn settled(to_run: u64, ended: u64) -> Work {
        Work { to_run, ended, failed: 0, is_settled: true }
    }

    fn batch(attempt: u32, state: BatchState) -> Batch {
        Batch { attempt, state, replacements: 0 }
    }

    #[test]
    fn a_job_is_planned_before_anything_else() {
        assert_eq!(next(&seen()), Next::Plan);
    }

    #[test]
    fn nothing_to_run_goes_straight_to_the_merge() {
        assert_eq!(next(&Seen { work: Some(work(0, 0, 0)), ..seen() }), Next::Merge);
    }

    #[test]
    fn the_first_batch_job_is_number_one_and_is_waited_for() {
        let planned = Seen { work: Some(settled(7, 0)), ..seen() };
        assert_eq!(next(&planned), Next::Start(1));
        let started = Seen { batches: vec![batch(1, BatchState::Active)], live_pods: 3, ..planned };
        assert_eq!(next(&started), Next::Wait(Wait::Pods));
    }

    #[test]
    fn the_store_decides_when_a_job_is_done_and_not_its_pods() {
        let done =
            Seen { work: Some(work(7, 7, 0)), batches: vec![batch(1, BatchState::Active)], live_pods: 3, ..seen() };
        assert_eq!(next(&done), Next::Merge);
        let claimed = Seen { work: Some(work(7, 5, 0)), batches: vec![batch(1, BatchState::Complete)], ..seen() };
        assert_eq!(next(&claimed), Next::Settle);
        assert_eq!(next(&Seen { work: Some(settled(7, 5)), ..claimed }), Next::Start(2));
    }

    #[test]
    fn after_two_replacements_a_fresh_batch_job_takes_over_once_the_old_pods_are_gone() {
        let worn = Batch { attempt: 4, state: BatchState::Active, replacements: 2 };
        let tired = Seen { work: Some(settled(7, 2)), batches: vec![worn.clone()], live_pods: 1, ..seen() };
        assert_eq!(next(&tired), Next::Stop(Stop::Replaced));
        let going = Seen { batches: vec![Batch { state: BatchState::Going, ..worn }], ..tired };
        assert_eq!(next(&going), Next::Wait(Wait::Stopping));
        assert_eq!(next(&Seen { live_pods: 0, ..going }), Next::Start(5));
    }

    #[test]
    fn a_failed_datum_fails_the_job_when_all_others_have_ended() {
        let running = Seen { work: Some(work(7, 6, 1)), batches: vec![batch(1, BatchState::Active)], ..seen() };
        assert_eq!(next(&running), Next::Wait(Wait::Pods));
        assert_eq!(next(&Seen { work: Some(work(7, 7, 1)), ..running }), Next::Fail(Failure::Datums));
    }

    #[test]
    fn a_cancelled_job_stops_its_pods_gathers_what_they_did_and_fails() {
        let running = Seen {
            is_cancelled: true,
            work: Some(work(7, 2, 0)),
            batches: vec![batch(1, BatchState::Active)],
            live_pods: 2,
            ..seen()
        };
        assert_eq!(next(&running), Next::Stop(Stop::Ending));
        let stopping = Seen { batches: vec![batch(1, BatchState::Going)], ..running };
        assert_eq!(next(&stopping), Next::Wait(Wait::Stopping));
        let stopped = Seen { live_pods: 0, ..stopping };
        assert_eq!(next(&stopped), Next::Settle);
        assert_eq!(next(&Seen { work: Some(settled(7, 3)), ..stopped }), Next::Fail(Failure::Cancelled));
    }

    #[test]
    fn a_job_past_its_deadline_fails_but_not_if_its_last_datum_is_done() {
        let late = Seen { deadline: Some(START), work: Some(settled(7, 3)), ..seen() };
        assert_eq!(next(&late), Next::Fail(Failure::TimedOut));
        assert_eq!(next(&Seen { work: Some(settled(7, 7)), ..late }), Next::Merge);
    }

    #[test]
    fn a_suspended_job_stops_its_pods_and_goes_on_later_with_what_is_left() {
        let running = Seen {
            is_suspended: true,
            work: Some(work(7, 2, 0)),
            batches: vec![batch(1, BatchState::Active)],
            ..seen()
        };
        assert_eq!(next(&running), Next::Stop(Stop::Suspended));
        assert_eq!(next(&Seen { batches: vec![], ..running.clone() }), Next::Wait(Wait::Resumption));
        let resumed = Seen { batches: vec![], last_attempt: 1, is_suspended: false, ..running };
        assert_eq!(next(&resumed), Next::Settle);
        assert_eq!(next(&Seen { work: Some(settled(7, 3)), ..resumed }), Next::Start(2));
    }

    #[test]
    fn a_job_that_no_pod_can_do_says_why() {
        let why = "the keeper may not read the store";
        let hopeless =
            Seen { work: Some(settled(7, 0)), batches: vec![batch(1, BatchState::Hopeless(why.into()))], ..seen() };
        assert_eq!(next(&hopeless), Next::Fail(Failure::Hopeless(why.into())));
    }

    #[test]
    fn a_published_job_is_announced_whatever_else_is_seen() {
        assert_eq!(next(&Seen { is_published: true, is_cancelled: true, ..seen() }), Next::Announce);
    }

    #[test]
    fn pods_that_stay_after_the_end_are_taken_away() {
        let ended = Seen {
            has_ended: true,
            ended: Some(START),
            batches: vec![batch(1, BatchState::Active)],
            live_pods: 1,
            ..seen()
        };
        assert_eq!(next(&ended), Next::Wait(Wait::Linger(LINGER)));
        let later = Seen { now: START + LINGER, ..ended };
        assert_eq!(next(&later), Next::Stop(Stop::Lingering));
        assert_eq!(next(&Seen { batches: vec![], live_pods: 0, ..later }), Next::Rest);
    }

    #[test]
    fn in_a_namespace_that_goes_away_batch_jobs_go_first() {
        let going = Seen { is_going: true, batches: vec![batch(1, BatchState::Active)], ..seen() };
        assert_eq!(next(&going), Next::Stop(Stop::Going));
        assert_eq!(next(&Seen { batches: vec![], ..going }), Next::Rest);
    }

    #[test]
    fn results_are_looked_at_often_at_first_and_seldom_in_a_long_job() {
        let seconds = |s| next_look(Duration::from_secs(s)).as_millis();
        assert_eq!([0, 10, 100, 10_000].map(seconds), [300, 500, 5_000, 10_000]);
    }
}
