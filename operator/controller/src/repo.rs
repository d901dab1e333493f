//! The Repo controller: sets a Repo up in its store, adopts what the store holds of it, keeps pinned
//! branches where they are pinned, and prunes the Commits that Pipelines have made.
//!
//! Heads are moved by [`crate::heads`] alone; what this writes of the status are the conditions and the
//! two ids, by a field manager of its own.

mod deletion;
mod history;
mod pins;
mod restored;

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio_util::sync::CancellationToken;
use varve_api::{
    conditions::{self, Reason, State},
    labels,
    repo::{Repo, RepoStatus},
};
use varve_format::{BranchName, RepoName};

pub(crate) use history::is_made_by_operator;
pub(crate) use restored::bring_back_commits;

use crate::{
    cx::Cx,
    error::{Error, Result, Retry},
    runner::{self, chain},
    status::Concern,
    stores::{self, Connection},
};

/// What this controller owns of a Repo's status.
const CONCERN: Concern =
    Concern { manager: "varve-repo", fields: Some(&["observedGeneration", "conditions", "uid", "store"]) };

/// Runs the controller until `stop`.
pub async fn run(cx: Arc<Cx>, stop: CancellationToken) {
    let repos = cx.caches.repos.clone();
    let by_secret = {
        let all = repos.clone();
        cx.caches.store_secrets.triggers(repos.store(), move |secret| {
            let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
            refs(&all.in_namespace(&namespace, |repo| repo.spec.store_ref.name == name))
        })
    };
    // A Commit that Pipelines made counts towards the history; any may be what a pin waits for.
    let by_commit = {
        let all = repos.clone();
        cx.caches.commits.triggers(repos.store(), move |commit| {
            let repo = all.get(&commit.namespace().unwrap_or_default(), &commit.spec.repo);
            let concerns = repo.filter(|repo| history::is_made_by_operator(commit) || !repo.spec.branches.is_empty());
            refs(concerns.as_slice())
        })
    };
    runner::run(cx, repos, vec![by_secret, by_commit], stop, reconcile).await;
}

fn refs(repos: &[Arc<Repo>]) -> Vec<ObjectRef<Repo>> {
    repos.iter().map(|repo| ObjectRef::from_obj(repo.as_ref())).collect()
}

async fn reconcile(repo: Arc<Repo>, cx: Arc<Cx>) -> Result<Action> {
    if repo.metadata.deletion_timestamp.is_some() {
        return deletion::finish(&repo, &cx).await;
    }
    deletion::prepare(&repo, &cx).await?;
    let done = settle(&repo, &cx).await;
    let (status, done) = match done {
        Ok(settled) => {
            let message = format!("kept in the store of Secret {}", settled.secret);
            (status(&repo, &cx, Some(&settled.ids), (State::Ready, Reason::Ready, message)), Ok(Action::await_change()))
        }
        Err(error) => (status(&repo, &cx, None, tell(&error)), Err(error)),
    };
    cx.status.write(CONCERN, cx.heads.fresh(&repo).as_ref(), &status).await?;
    history::prune(&repo, &cx).await?;
    done
}

/// The two ids of a Repo that is set up.
#[derive(Clone)]
struct Ids {
    repo: String,
    store: String,
}

struct Settled {
    secret: String,
    ids: Ids,
}

/// Brings the store and the heads to where the spec wants them.
async fn settle(repo: &Arc<Repo>, cx: &Cx) -> Result<Settled> {
    let namespace = repo.namespace().unwrap_or_default();
    let connection = cx.stores.open(&namespace, Some(&repo.spec.store_ref.name)).await?;
    let ids = set_up(repo, cx, &connection).await?;
    let repo = &cx.heads.fresh(repo);
    if !cx.heads.is_adopted(repo) {
        adopt(repo, cx, &connection).await?;
        cx.heads.set_adopted(repo);
    }
    pins::hold(repo, cx, &connection.store).await?;
    Ok(Settled { secret: connection.secret, ids })
}

/// Gives the Repo its uid in the store, and shows it in the status before any head can stand there.
async fn set_up(repo: &Arc<Repo>, cx: &Cx, connection: &Connection) -> Result<Ids> {
    let store = &connection.store;
    let shown = repo.status.as_ref().and_then(|status| status.uid.clone());
    if let Some(shown) = &shown
        && cx.heads.is_adopted(repo)
    {
        return Ok(Ids { repo: shown.clone(), store: store.id().to_string() });
    }
    let name = repo_name(repo)?;
    let told = |error| stores::about(&connection.secret, &error);
    let record = store.repo(&name).await.map_err(told)?.filter(|record| record.live);
    let record = match (record, &shown) {
        (Some(record), _) => record,
        (None, Some(shown)) => {
            return Err(Error::stalled(
                Reason::HeadMissing,
                format!(
                    "the store of Secret {} does not know this Repo (uid {shown}): bring its objects back, or delete \
                     and create the Repo to begin anew",
                    connection.secret
                ),
            ));
        }
        (None, None) => {
            let call = crate::act::Call::new(crate::act::Verb::Store, "repos", name.to_string());
            cx.act.step(call, || async { store.create_repo(&name).await.map_err(told) }).await?
        }
    };
    let ids = Ids { repo: record.uid.to_string(), store: store.id().to_string() };
    match shown {
        Some(shown) if shown != ids.repo => Err(Error::stalled(
            Reason::HeadDiverged,
            format!(
                "the store of Secret {} knows this Repo by uid {}, its status by {shown}: its data was given up and \
                 begun anew elsewhere. Delete and create the Repo to follow the store",
                connection.secret, ids.repo
            ),
        )),
        Some(_) => Ok(ids),
        None => {
            let progress =
                (State::Reconciling, Reason::Progressing, "looking at what the store holds of it".to_owned());
            let status = status(repo, cx, Some(&ids), progress);
            if let Some(written) = cx.status.write(CONCERN, repo.as_ref(), &status).await? {
                cx.heads.remember(written);
            }
            Ok(ids)
        }
    }
}

/// Takes over what the store holds: every branch whose reflog goes on from the status, or from nothing.
async fn adopt(repo: &Arc<Repo>, cx: &Cx, connection: &Connection) -> Result<()> {
    let uid = crate::heads::uid(repo)?;
    let told = |error| stores::about(&connection.secret, &error);
    let held = connection.store.reflog_branches(uid).await.map_err(told)?;
    let shown = repo.status.iter().flat_map(|status| &status.branches);
    let shown = shown.filter_map(|branch| BranchName::parse(&branch.name).ok());
    let all: BTreeSet<BranchName> = held.into_iter().chain(shown).collect();
    let mut all_opened = Ok(());
    for branch in all {
        let _turn = cx.heads.turn(uid, &branch).await;
        // One branch that needs people does not keep the others.
        let opened = cx.heads.open(cx, repo, &connection.store, &branch).await;
        all_opened = all_opened.and(opened.map(|_| ()));
    }
    all_opened
}

/// The name of a Repo as the store takes it.
pub(crate) fn repo_name(repo: &Repo) -> Result<RepoName> {
    let name = repo.name_any();
    RepoName::parse(&name).map_err(|error| Error::stalled(Reason::InvalidPath, format!("Repo {name}: {error}")))
}

type Standing = (State, Reason, String);

/// What an error means for the conditions.
pub(crate) fn tell(error: &Error) -> Standing {
    let (reason, message) = match error {
        Error::Told { reason, message, .. } => (*reason, message.clone()),
        Error::Api { .. } | Error::Timeout { .. } => (Reason::ApiError, chain(error)),
        Error::Store { source, .. } => {
            let words = stores::told(&chain(error), source);
            (stores::reason(source), format!("{words}{}", stores::remedy(source)))
        }
        Error::HeadMoved { .. } | Error::NotLeading | Error::Injected { .. } => (Reason::Progressing, chain(error)),
        Error::Pages { .. } | Error::Bug(_) => (Reason::InternalError, chain(error)),
    };
    let state = if error.retry() == Retry::WhenChanged { State::Stalled } else { State::Reconciling };
    (state, reason, message)
}

fn status(repo: &Arc<Repo>, cx: &Cx, ids: Option<&Ids>, standing: Standing) -> RepoStatus {
    let before = cx.heads.fresh(repo).status.clone().unwrap_or_default();
    let ids = ids.cloned();
    RepoStatus {
        observed_generation: repo.metadata.generation,
        conditions: standing_conditions(repo.metadata.generation, &before.conditions, standing, cx),
        uid: ids.as_ref().map(|ids| ids.repo.clone()).or(before.uid),
        store: ids.map(|ids| ids.store).or(before.store),
        ..RepoStatus::default()
    }
}

/// kstatus's three conditions, with the times of those that have not changed.
pub(crate) fn standing_conditions(
    generation: Option<i64>,
    before: &[Condition],
    (state, reason, message): Standing,
    cx: &Cx,
) -> Vec<Condition> {
    let mut now = conditions::standing(state, reason, &message, generation.unwrap_or(0), cx.now());
    conditions::keep_times(&mut now, before);
    now
}

/// Whether the operator made an object.
pub(crate) fn is_managed(labels_of: &std::collections::BTreeMap<String, String>) -> bool {
    labels_of.get(labels::MANAGED_BY).is_some_and(|manager| manager == labels::MANAGER)
}
