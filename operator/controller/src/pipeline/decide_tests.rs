use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use uuid::Uuid;
use varve_api::{
    Job, Pipeline,
    conditions::{Reason, State, Type, condition, find, holds, standing as kstatus},
    job::{JobStatus, ShardCounts, Snapshot},
    meta::InputCommit,
    pipeline::PipelineSpec,
};
use varve_format::Hash;

use super::*;
use crate::pipeline::observe::{Seen, Set, Wanted};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

fn pipeline() -> Pipeline {
    Pipeline {
        metadata: ObjectMeta {
            name: Some("edges".into()),
            namespace: Some("lab".into()),
            uid: Some("pipeline-uid".into()),
            generation: Some(3),
            ..ObjectMeta::default()
        },
        spec: PipelineSpec { history_limit: 2, ..PipelineSpec::default() },
        status: None,
    }
}

fn set(run: u128) -> Set {
    let input = InputCommit {
        name: "images".into(),
        repo: "photos".into(),
        branch: "main".into(),
        commit: Uuid::from_u128(run).to_string(),
    };
    Set { inputs: vec![input], seals: vec![Hash::of_content(&run.to_le_bytes())], run: Uuid::from_u128(run) }
}

fn seen(wanted: Wanted, jobs: Vec<Arc<Job>>) -> Seen {
    Seen {
        now: NOW,
        snapshot: Snapshot { uid: "pipeline-uid".into(), generation: 3, ..Snapshot::default() },
        spec_digest: Hash::of_content(b"spec"),
        output: Some(Arc::default()),
        store_ref: "varve-store".into(),
        output_commit: None,
        jobs,
        wanted,
        look_again: None,
    }
}

fn job(name: &str, state: JobState) -> Arc<Job> {
    let mut conditions = kstatus(State::Reconciling, Reason::Running, "at work", 1, NOW);
    if state != JobState::Active {
        let succeeded = state == JobState::Succeeded;
        conditions.push(condition(Type::Succeeded, succeeded, Reason::Succeeded, "", 1, NOW));
    }
    let shards = Some(ShardCounts { total: 4, active: 3, succeeded: 1, failed: 0 });
    Arc::new(Job {
        metadata: ObjectMeta {
            name: Some(name.into()),
            uid: Some(format!("uid of {name}")),
            creation_timestamp: Some(Time(NOW)),
            ..ObjectMeta::default()
        },
        status: Some(JobStatus { conditions, shards, explanation: Some("it broke.".into()), ..JobStatus::default() }),
        ..Job::default()
    })
}

fn name_of(run: u128) -> String {
    job_name("edges", &seen(Wanted::UpToDate, vec![]), &set(run))
}

fn makes(wanted: Vec<Set>, jobs: Vec<Arc<Job>>) -> Option<String> {
    changes(&pipeline(), &seen(Wanted::Sets(wanted), jobs)).makes_job.map(|job| job.name)
}

#[test]
fn the_first_wanted_set_becomes_a_job_and_the_second_waits_for_it() {
    assert_eq!(makes(vec![set(1), set(2)], vec![]), Some(name_of(1)));
    assert_eq!(makes(vec![set(1), set(2)], vec![job(&name_of(1), JobState::Active)]), None);
}

#[test]
fn a_set_whose_job_failed_is_passed_over_until_that_job_is_deleted() {
    let failed = job(&name_of(1), JobState::Failed);
    assert_eq!(makes(vec![set(1)], vec![failed.clone()]), None);
    assert_eq!(makes(vec![set(1), set(2)], vec![failed]), Some(name_of(2)));
    assert_eq!(makes(vec![set(1)], vec![]), Some(name_of(1)));
}

#[test]
fn a_jobs_name_says_what_it_runs_and_over_what() {
    let here = seen(Wanted::UpToDate, vec![]);
    let with = |change: fn(&mut Seen)| {
        let mut other = seen(Wanted::UpToDate, vec![]);
        change(&mut other);
        job_name("edges", &other, &set(1))
    };
    let name = job_name("edges", &here, &set(1));
    assert_eq!(job_name("edges", &here, &set(1)), name);
    let others = [
        job_name("edges", &here, &set(2)),
        with(|seen| seen.snapshot.generation = 4),
        with(|seen| seen.spec_digest = Hash::of_content(b"another")),
        with(|seen| seen.snapshot.uid = "made anew".into()),
    ];
    assert!(others.iter().all(|other| *other != name), "{name} {others:?}");
}

#[test]
fn a_suspended_pipeline_makes_no_job_and_says_so() {
    let mut pipeline = pipeline();
    pipeline.spec.suspend = true;
    let seen = seen(Wanted::Sets(vec![set(1)]), vec![]);
    assert_eq!(changes(&pipeline, &seen).makes_job, None);
    let status = status(&pipeline, &Facts::of(&pipeline, &seen, &seen.jobs));
    assert!(holds(&status.conditions, Type::Suspended) && holds(&status.conditions, Type::Ready));
}

#[test]
fn an_output_repo_is_made_only_where_there_is_none() {
    let there = seen(Wanted::UpToDate, vec![]);
    assert!(!changes(&pipeline(), &there).makes_output);
    assert!(changes(&pipeline(), &Seen { output: None, ..there }).makes_output);
}

#[test]
fn old_jobs_go_beyond_the_limit_but_not_the_failed_one_that_would_run_again() {
    let jobs = vec![
        job(&name_of(1), JobState::Failed),
        job("a", JobState::Succeeded),
        job("b", JobState::Succeeded),
        job("c", JobState::Failed),
        job("d", JobState::Active),
    ];
    let deleted = changes(&pipeline(), &seen(Wanted::Sets(vec![set(1)]), jobs)).deletes;
    let names: Vec<_> = deleted.iter().map(|job| job.name_any()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn what_was_done_once_is_not_decided_again() {
    let wanted = Wanted::Sets(vec![set(1)]);
    let first = changes(&pipeline(), &seen(wanted.clone(), vec![]));
    let made = first.makes_job.expect("a job is wanted").name;
    let again = changes(&pipeline(), &seen(wanted, vec![job(&made, JobState::Active)]));
    assert_eq!(again, Changes::default());
}

#[test]
fn a_failed_job_stalls_the_pipeline_and_says_what_to_do() {
    let jobs = vec![job(&name_of(1), JobState::Failed)];
    let seen = seen(Wanted::Sets(vec![set(1)]), jobs);
    let status = status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs));
    let ready = find(&status.conditions, "Ready").expect("it is always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "JobFailed"));
    assert!(holds(&status.conditions, Type::Stalled));
    assert!(ready.message.contains("it broke.") && ready.message.contains(&format!("delete Job {}", name_of(1))));
}

#[test]
fn a_job_that_cannot_go_on_stalls_its_pipeline_for_the_same_reason() {
    let conditions = kstatus(State::Stalled, Reason::ConfigMapNotFound, "ConfigMap words is not there.", 1, NOW);
    let status_of_job = Some(JobStatus { conditions, ..JobStatus::default() });
    let stuck = Arc::new(Job { status: status_of_job, ..Job::clone(&job(&name_of(1), JobState::Active)) });
    let seen = seen(Wanted::Sets(vec![set(1)]), vec![stuck]);
    let status = status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs));
    let ready = find(&status.conditions, "Ready").expect("it is always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ConfigMapNotFound"));
    assert!(ready.message.contains("ConfigMap words is not there. To give it up, set cancel"), "{}", ready.message);
}

#[test]
fn a_pipeline_whose_pods_are_held_up_is_not_ready_and_says_why() {
    let ready = |reason: Reason| {
        let conditions = kstatus(State::Reconciling, reason, "no node has room.", 1, NOW);
        let status_of_job = Some(JobStatus { conditions, ..JobStatus::default() });
        let held_up = Arc::new(Job { status: status_of_job, ..Job::clone(&job(&name_of(1), JobState::Active)) });
        let seen = seen(Wanted::Sets(vec![set(1)]), vec![held_up]);
        let status = status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs));
        assert!(!holds(&status.conditions, Type::Stalled), "it goes on by itself");
        let ready = find(&status.conditions, "Ready").expect("it is always there");
        (ready.status.clone(), ready.reason.clone(), ready.message.clone())
    };
    let name = name_of(1);
    let told = format!("Job {name} is held up: no node has room. To give it up, set cancel in Job {name}");
    for reason in [Reason::Unschedulable, Reason::ImagePullFailed, Reason::PodsCannotStart, Reason::ShardFailed] {
        assert_eq!(ready(reason), ("False".into(), reason.as_str().into(), told.clone()));
    }
    assert_eq!(ready(Reason::Running), ("True".into(), "JobRunning".into(), format!("Job {name} is running")));
}

#[test]
fn a_branch_that_was_set_back_waits_for_news_and_does_not_promise_a_job() {
    let jobs = vec![job("older", JobState::Failed), job(&name_of(1), JobState::Succeeded)];
    let seen = seen(Wanted::Sets(vec![set(1)]), jobs);
    assert_eq!(changes(&pipeline(), &seen).makes_job, None);
    let status = status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs));
    let ready = find(&status.conditions, "Ready").expect("it is always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "WaitingForInput"));
    assert!(ready.message.contains(&format!("behind the Commit of Job {}", name_of(1))), "{}", ready.message);
}

#[test]
fn scale_sees_the_pods_at_work() {
    let seen = seen(Wanted::UpToDate, vec![job("old", JobState::Succeeded), job("new", JobState::Active)]);
    let status = status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs));
    assert_eq!((status.replicas, status.selector.as_deref()), (Some(3), Some("varve.dev/pipeline=edges")));
}

#[test]
fn the_end_of_the_last_job_is_news_its_beginning_is_progress() {
    let told = |jobs: Vec<Arc<Job>>| {
        let seen = seen(Wanted::UpToDate, jobs);
        status(&pipeline(), &Facts::of(&pipeline(), &seen, &seen.jobs))
    };
    let at_rest = told(vec![job("first", JobState::Succeeded)]);
    let at_work = told(vec![job("first", JobState::Succeeded), job("second", JobState::Active)]);
    let next = told(vec![job("second", JobState::Succeeded), job("third", JobState::Active)]);
    assert!(is_news(&at_work, &at_rest));
    assert!(!is_news(&at_rest, &at_work));
    assert!(!is_news(&at_work, &next), "it is at work all the same");
}
