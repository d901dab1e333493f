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
        is_unplannable: false,
        hopeless: None,
        held_up_since: None,
        mismatch: None,
        next_start: None,
    }
}

fn work(to_run: u64, ended: u64, failed: u64) -> Work {
    Work { to_run, ended, failed, is_settled: false }
}

fn settled(to_run: u64, ended: u64) -> Work {
    Work { to_run, ended, failed: 0, is_settled: true }
}

fn batch(attempt: u32, state: BatchState) -> Batch {
    Batch { attempt, state, replacements: 0, running: 0, lost: 0 }
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
    let done = Seen { work: Some(work(7, 7, 0)), batches: vec![batch(1, BatchState::Active)], live_pods: 3, ..seen() };
    assert_eq!(next(&done), Next::Merge);
    let claimed = Seen { work: Some(work(7, 5, 0)), batches: vec![batch(1, BatchState::Complete)], ..seen() };
    assert_eq!(next(&claimed), Next::Settle);
    assert_eq!(next(&Seen { work: Some(settled(7, 5)), ..claimed }), Next::Start(2));
}

#[test]
fn after_two_replacements_a_fresh_batch_job_takes_over_once_the_old_pods_are_gone() {
    let worn = Batch { replacements: 2, ..batch(4, BatchState::Active) };
    let tired = Seen { work: Some(settled(7, 2)), batches: vec![worn.clone()], live_pods: 1, ..seen() };
    assert_eq!(next(&tired), Next::Stop(Stop::Replaced));
    let going = Seen { batches: vec![Batch { state: BatchState::Going, ..worn }], ..tired };
    assert_eq!(next(&going), Next::Wait(Wait::Stopping));
    assert_eq!(next(&Seen { live_pods: 0, ..going }), Next::Start(5));
}

#[test]
fn nobodys_work_is_thrown_away_for_another_pods_sake() {
    let worn = Batch { replacements: 9, running: 1, ..batch(1, BatchState::Active) };
    let seen = Seen { work: Some(work(7, 2, 0)), batches: vec![worn], live_pods: 3, ..seen() };
    assert_eq!(next(&seen), Next::Wait(Wait::Pods));
}

#[test]
fn a_pod_on_a_node_that_does_not_answer_is_not_waited_for() {
    let lost = Batch { lost: 1, ..batch(1, BatchState::Active) };
    let held = Seen { work: Some(settled(7, 2)), batches: vec![lost], ..seen() };
    assert_eq!(next(&held), Next::Stop(Stop::Replaced));
    assert_eq!(next(&Seen { batches: vec![], last_attempt: 1, ..held }), Next::Start(2));
}

#[test]
fn after_pods_that_ended_nothing_there_is_a_pause() {
    let paused = Seen {
        work: Some(settled(7, 2)),
        last_attempt: 1,
        next_start: Some(START + Duration::from_secs(10)),
        ..seen()
    };
    assert_eq!(next(&paused), Next::Wait(Wait::Pause(Duration::from_secs(10))));
    assert_eq!(next(&Seen { now: START + Duration::from_secs(10), ..paused }), Next::Start(2));
}

#[test]
fn a_job_that_cannot_be_planned_is_cancelled_all_the_same() {
    let held = Seen { is_cancelled: true, batches: vec![batch(1, BatchState::Active)], live_pods: 1, ..seen() };
    assert_eq!(next(&held), Next::Stop(Stop::Ending));
    let stopping = Seen { batches: vec![], ..held };
    assert_eq!(next(&stopping), Next::Wait(Wait::Stopping));
    let stopped = Seen { live_pods: 0, ..stopping };
    assert_eq!(next(&stopped), Next::Plan, "what is done may be gathered yet");
    let given_up = Seen { is_unplannable: true, ..stopped };
    assert_eq!(next(&given_up), Next::Fail(Failure::Cancelled));
    let late = Seen { is_cancelled: false, deadline: Some(START), ..given_up.clone() };
    assert_eq!(next(&late), Next::Fail(Failure::TimedOut));
    let waiting = Seen { is_cancelled: false, ..given_up };
    assert_eq!(next(&waiting), Next::Plan, "nobody has asked for its end");
}

#[test]
fn pods_stop_when_they_are_told_to_though_the_store_is_out_of_reach() {
    let running = Seen { batches: vec![batch(1, BatchState::Active)], live_pods: 1, ..seen() };
    assert_eq!(without_store(&running), None);
    assert_eq!(without_store(&Seen { is_cancelled: true, ..running.clone() }), Some(Stop::Ending));
    assert_eq!(without_store(&Seen { deadline: Some(START), ..running.clone() }), Some(Stop::Ending));
    let suspended = Seen { is_suspended: true, ..running };
    assert_eq!(without_store(&suspended), Some(Stop::Suspended));
    assert_eq!(without_store(&Seen { batches: vec![], ..suspended }), None);
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
    let running =
        Seen { is_suspended: true, work: Some(work(7, 2, 0)), batches: vec![batch(1, BatchState::Active)], ..seen() };
    assert_eq!(next(&running), Next::Stop(Stop::Suspended));
    assert_eq!(next(&Seen { batches: vec![], ..running.clone() }), Next::Wait(Wait::Resumption));
    let resumed = Seen { batches: vec![], last_attempt: 1, is_suspended: false, ..running };
    assert_eq!(next(&resumed), Next::Settle);
    assert_eq!(next(&Seen { work: Some(settled(7, 3)), ..resumed }), Next::Start(2));
}

#[test]
fn a_job_whose_pods_ran_another_image_stops_them_and_fails_though_all_seemed_done() {
    let why = "edges:1 is another on node b";
    let mismatch = Seen {
        batches: vec![batch(1, BatchState::Active)],
        live_pods: 1,
        work: Some(work(3, 0, 0)), // what they did no longer counts
        mismatch: Some(why.into()),
        ..seen()
    };
    assert_eq!(next(&mismatch), Next::Stop(Stop::Ending));
    let gone = Seen { batches: Vec::new(), live_pods: 0, work: Some(settled(3, 0)), ..mismatch };
    assert_eq!(next(&gone), Next::Fail(Failure::Mismatch(why.into())));
}

#[test]
fn a_job_that_no_pod_can_do_says_why() {
    let why = "the keeper may not read the store";
    let hopeless = Seen {
        work: Some(settled(7, 0)),
        batches: vec![batch(1, BatchState::Failed)],
        hopeless: Some((Reason::ShardFailed, why.into())),
        ..seen()
    };
    assert_eq!(next(&hopeless), Next::Fail(Failure::Hopeless(Reason::ShardFailed, why.into())));
    let waiting = Seen { batches: vec![batch(1, BatchState::Active)], live_pods: 1, ..hopeless };
    assert_eq!(next(&waiting), Next::Stop(Stop::Ending), "pods that can never start are not waited for");
}

#[test]
fn pods_that_cannot_start_give_their_nodes_back_after_a_while_and_others_come_after_a_pause() {
    let held_up = Seen {
        now: START + HELD_UP_BORNE,
        held_up_since: Some(START),
        work: Some(settled(7, 0)),
        batches: vec![batch(1, BatchState::Active)],
        live_pods: 2,
        ..seen()
    };
    assert_eq!(next(&held_up), Next::Stop(Stop::CannotStart));
    let earlier = Seen { now: START + HELD_UP_BORNE - Duration::from_secs(1), ..held_up.clone() };
    assert_eq!(next(&earlier), Next::Wait(Wait::Pods));
    let gone = Seen {
        batches: Vec::new(),
        last_attempt: 1,
        live_pods: 0,
        held_up_since: None,
        next_start: Some(held_up.now + Duration::from_secs(10)),
        ..held_up
    };
    assert_eq!(next(&gone), Next::Wait(Wait::Pause(Duration::from_secs(10))));
    assert_eq!(next(&Seen { next_start: None, ..gone }), Next::Start(2));
}

#[test]
fn pods_that_cannot_start_are_borne_while_another_is_at_work() {
    let at_work = Batch { running: 1, ..batch(1, BatchState::Active) };
    let seen = Seen {
        now: START + HELD_UP_BORNE,
        held_up_since: Some(START),
        work: Some(work(7, 2, 0)),
        batches: vec![at_work],
        live_pods: 2,
        ..seen()
    };
    assert_eq!(next(&seen), Next::Wait(Wait::Pods));
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
