//! The Commit controller: each Commit lands on its branch exactly once, or says why not.
//!
//! The uid is made from the object, so a Commit that is begun again after a crash is the same commit. The
//! store's `names/` says whether it has landed already, in this cluster's life or an earlier one. Commits
//! to one branch take turns; one that loses a race to another writer lands by making its edits again on
//! the new head. A Commit that is `Ready` is never looked at again.

mod changes;
mod import;
mod land;
mod output;
mod shown;
mod summary;
mod uploaded;
mod waiting;

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::{ResourceExt, runtime::controller::Action};
use tokio_util::sync::CancellationToken;
use varve_api::{
    commit::{Commit, CommitStatus},
    conditions::{self, HasConditions as _, Reason, State, Type},
    repo::Repo,
};

pub(crate) use output::output;
pub(crate) use shown::{pack_ref, record_ref};
pub use shown::{status_of, status_of_parts};
pub(crate) use summary::summarize;

use self::waiting::Waiting;
use crate::{
    cx::Cx,
    error::{Error, Result},
    pods::EVENTS_EVERY,
    repo::{standing_conditions, tell},
    runner,
    status::Concern,
};

/// The writer of Commit statuses.
pub const CONCERN: Concern = Concern::whole("varve-commit");

/// Runs the controller until `stop`.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    let waiting = Arc::new(Waiting::default());
    let triggers = waiting::triggers(&cx, &waiting);
    let commits = cx.caches.commits.clone();
    runner::run(cx, commits, triggers, stop, move |commit, cx| begin(commit, cx, waiting.clone())).await;
}

/// Boxed here, where all types are known: the compiler cannot prove the same `Send` within a closure.
fn begin(commit: Arc<Commit>, cx: Arc<Cx>, waiting: Arc<Waiting>) -> BoxFuture<'static, Result<Action>> {
    reconcile(commit, cx, waiting).boxed()
}

async fn reconcile(commit: Arc<Commit>, cx: Arc<Cx>, waiting: Arc<Waiting>) -> Result<Action> {
    let is_done = commit.metadata.deletion_timestamp.is_some() || is_ready(&commit);
    if is_done || crate::repo::is_made_by_operator(&commit) {
        // A Job's output Commit is written, status and all, by the Job that made it.
        waiting.forget(&commit);
        return Ok(Action::await_change());
    }
    let landed = land::land(&commit, &cx, &waiting).await;
    if landed.is_err() {
        waiting.insert(&commit);
    }
    let (mut status, standing, done) = match landed {
        Ok(status) => {
            let message = shown::summary(&status);
            (status, (State::Ready, Reason::Committed, message), Ok(Action::await_change()))
        }
        Err(error) => {
            let standing = tell(&error);
            let explanation = Some(shorten(&standing.2));
            (CommitStatus { explanation, ..CommitStatus::default() }, standing, Err(error))
        }
    };
    let before = commit.conditions();
    let generation = commit.metadata.generation;
    let (state, reason, message) = (standing.0, standing.1, standing.2.clone());
    status.observed_generation = generation;
    status.conditions = standing_conditions(generation, before, standing, &cx);
    if state != State::Reconciling {
        let mut succeeded = conditions::condition(
            Type::Succeeded,
            state == State::Ready,
            reason,
            &message,
            generation.unwrap_or(0),
            cx.now(),
        );
        conditions::keep_times(std::slice::from_mut(&mut succeeded), before);
        status.conditions.push(succeeded);
    }
    cx.status.write(CONCERN, commit.as_ref(), &status).await?;
    if done.as_ref().is_err_and(import::is_under_way) {
        return Ok(Action::requeue(EVENTS_EVERY));
    }
    if done.is_ok() {
        waiting.forget(&commit);
        tracing::info!(
            namespace = commit.namespace(),
            commit = commit.name_any(),
            repo = commit.spec.repo,
            branch = commit.spec.branch,
            uid = status.uid,
            "committed"
        );
    }
    done
}

pub(crate) fn is_ready(commit: &Commit) -> bool {
    conditions::holds(commit.conditions(), Type::Ready)
}

/// What the schema allows an explanation.
fn shorten(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// The Repo that a Commit is for, set up in its store.
fn repo(commit: &Commit, cx: &Cx, name: &str) -> Result<Arc<Repo>> {
    let namespace = commit.namespace().unwrap_or_default();
    let found = cx.heads.repo(cx, &namespace, name).filter(|repo| repo.metadata.deletion_timestamp.is_none());
    let Some(repo) = found else {
        return Err(Error::stalled(
            Reason::RepoNotFound,
            format!("there is no Repo {name} in namespace {namespace}: create it"),
        ));
    };
    if repo.status.as_ref().is_none_or(|status| status.uid.is_none()) {
        return Err(match conditions::find(repo.conditions(), Type::Stalled.as_str()).filter(|c| c.status == "True") {
            Some(stalled) => Error::stalled(
                Reason::RepoNotReady,
                format!("Repo {name} is not ready: {} ({})", stalled.message, stalled.reason),
            ),
            None => Error::waiting(Reason::RepoNotReady, format!("Repo {name} is not ready yet")),
        });
    }
    Ok(repo)
}
