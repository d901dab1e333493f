//! What a Commit fetches from outside is fetched by a pod in the Commit's namespace, never by the operator.
//!
//! A batch Job of one pod, known by the Commit's uid, writes what it fetched to the store, and its results
//! beside; those alone are believed. A Secret it may use carries the label `varve.dev/import: "true"`. A
//! failure is told, and tried again after a pause that doubles: what was not there may come.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{batch::v1::Job as BatchJob, core::v1::Pod, core::v1::Secret};
use kube::{Api, Resource, ResourceExt};
use uuid::Uuid;
use varve_api::{commit::Commit, conditions::Reason, labels, names, repo::Repo};
use varve_engine::{
    commit::fetches,
    explain::{Seen, explain},
    pod::{self, ImportJob},
};
use varve_format::records::ImportResults;
use varve_store::Store;

use super::waiting::Waiting;
use crate::{
    cx::Cx,
    error::{Error, Result, Retry},
    pods::Remembered,
};

/// Said while there is no pod yet that fetches.
const STARTING: &str = "a pod is being started to fetch what the Commit puts";

/// Whether a Commit that waits so waits for its import pod. Events that say why that does not start are not watched, so it
/// is looked at again before long.
pub(super) fn is_under_way(error: &Error) -> bool {
    use Reason::{ImagePullFailed, ImportFailed, Importing, PodsCannotStart, Unschedulable};
    let waits = [Importing, ImportFailed, ImagePullFailed, PodsCannotStart, Unschedulable];
    matches!(error, Error::Told { reason, retry: Retry::Backoff, .. } if waits.contains(reason))
}

/// What the pod has fetched. Until it has: an error that says how it is going.
pub(super) async fn results(
    cx: &Cx,
    commit: &Arc<Commit>,
    store: &Store,
    repo: &Repo,
    waiting: &Waiting,
) -> Result<ImportResults> {
    let failed = || Error::store("read the import's results");
    // The results' key is the object's own uid, as a Job's is.
    let object = commit.uid().unwrap_or_default();
    let uid = object.parse().map_err(|_| Error::Bug(format!("the Commit's uid is {object:?}")))?;
    if let Some(results) = store.get_import(uid).await.map_err(failed())? {
        return Ok(results);
    }
    let namespace = commit.namespace().unwrap_or_default();
    let name = names::import_job(&commit.name_any());
    let there = cx.caches.batch_jobs.get(&namespace, &name).filter(|job| is_owned_by(job.as_ref(), commit));
    let before = waiting.last_failure(commit);
    let Some(job) = there else {
        if let Some((message, true)) = before {
            return Err(Error::stalled(Reason::ImportFailed, message));
        }
        start(cx, commit, (store, uid), repo).await?;
        return Err(under_way(before, Reason::Importing, STARTING));
    };
    if job.metadata.deletion_timestamp.is_some() {
        return Err(under_way(before, Reason::Importing, "the last try is being cleared away"));
    }
    let pods = cx.caches.pods.in_namespace(&namespace, |pod| {
        pod.labels().get(labels::COMMIT).is_some_and(|name| *name == commit.name_any())
    });
    match ending(&job) {
        None => {
            let (reason, message) = progress(cx, &job, &pods).await?;
            Err(under_way(before, reason, &message))
        }
        Some(true) => {
            // It ended between our two looks, or it lies: the results decide.
            if let Some(results) = store.get_import(uid).await.map_err(failed())? {
                return Ok(results);
            }
            fail(cx, commit, &job, waiting, "the import pod ended, but its results are not in the store").await
        }
        Some(false) => {
            let why = || explain(&Seen { pods: pods.iter().map(AsRef::as_ref).collect(), ..Seen::default() });
            let said = last_words(&pods)
                .or_else(|| why().map(|finding| finding.message()))
                .or_else(|| conditions_of(&job))
                .unwrap_or_else(|| "the import pod failed".into());
            fail(cx, commit, &job, waiting, &said).await
        }
    }
}

/// Removes the batch Job of a Commit that has landed.
pub(super) async fn clean_up(cx: &Cx, commit: &Commit) -> Result<()> {
    if fetches(commit.spec.changes.as_deref().unwrap_or_default()).next().is_none() {
        return Ok(());
    }
    let namespace = commit.namespace().unwrap_or_default();
    let job = cx.caches.batch_jobs.get(&namespace, &names::import_job(&commit.name_any()));
    if let Some(job) = job.filter(|job| is_owned_by(job.as_ref(), commit)) {
        cx.act.delete(job.as_ref()).await?;
    }
    Ok(())
}

/// Going on; but where it has failed before, that stays said until it has succeeded.
fn under_way(before: Option<(String, bool)>, reason: Reason, message: &str) -> Error {
    match before {
        Some((failure, _)) => Error::stalled(Reason::ImportFailed, format!("{failure} (being tried again)")),
        None => Error::waiting(reason, message),
    }
}

async fn fail(
    cx: &Cx,
    commit: &Arc<Commit>,
    job: &Arc<BatchJob>,
    waiting: &Waiting,
    message: &str,
) -> Result<ImportResults> {
    waiting.import_failed(commit, message);
    cx.act.delete(job.as_ref()).await?;
    Err(Error::stalled(Reason::ImportFailed, message))
}

async fn start(cx: &Cx, commit: &Arc<Commit>, (store, uid): (&Store, Uuid), repo: &Repo) -> Result<()> {
    let namespace = commit.namespace().unwrap_or_default();
    let changes = commit.spec.changes.as_deref().unwrap_or_default();
    let puts: Vec<_> = fetches(changes).map(|(_, put)| put).collect();
    let secrets = puts.iter().filter_map(|put| put.object_store.as_ref()?.secret_name.as_deref());
    for secret in secrets.collect::<BTreeSet<_>>() {
        check_secret(cx, &namespace, secret).await?;
    }
    let list = store.put_fetch_list(uid, pod::fetch_list(&puts).into()).await;
    let list = list.map_err(Error::store("write what to fetch"))?;
    let around = cx.surroundings(&namespace, &repo.spec.store_ref.name);
    let job = ImportJob {
        commit: commit.name_any(),
        commit_uid: commit.uid().unwrap_or_default(),
        repo: repo.name_any(),
        puts,
        list,
    };
    let there = cx.act.create(&pod::import(&job, &around)).await?.into_inner();
    if is_owned_by(&there, commit) {
        return Ok(());
    }
    Err(Error::waiting(
        Reason::Importing,
        format!("batch Job {} belongs to another object; its end is waited for", there.name_any()),
    ))
}

async fn check_secret(cx: &Cx, namespace: &str, name: &str) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(cx.clients.write.clone(), namespace);
    let found = api.get_metadata_opt(name).await.map_err(Error::api(format_args!("get Secret {name}")))?;
    let Some(found) = found else {
        return Err(Error::stalled(
            Reason::ImportSecretMissing,
            format!("there is no Secret {name} in namespace {namespace}: create it, labelled {}=true", labels::IMPORT),
        ));
    };
    if found.labels().get(labels::IMPORT).is_some_and(|value| value == "true") {
        return Ok(());
    }
    Err(Error::stalled(
        Reason::ImportSecretNotLabelled,
        format!(
            "Secret {name} is not meant for imports: if it is, kubectl -n {namespace} label secret {name} {}=true",
            labels::IMPORT
        ),
    ))
}

fn is_owned_by<K: Resource>(object: &K, commit: &Commit) -> bool {
    let uid = commit.uid().unwrap_or_default();
    object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// Whether the Job has ended, and well.
fn ending(job: &BatchJob) -> Option<bool> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |name: &str| conditions.iter().any(|c| c.type_ == name && c.status == "True");
    if holds("Complete") || holds("SuccessCriteriaMet") {
        Some(true)
    } else if holds("Failed") || holds("FailureTarget") {
        Some(false)
    } else {
        None
    }
}

fn conditions_of(job: &BatchJob) -> Option<String> {
    let failed = job.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "Failed")?;
    failed.message.clone()
}

/// The last words of the newest pod that has any: the JSON that our programs leave, or plain text.
fn last_words(pods: &[Arc<Pod>]) -> Option<String> {
    let mut newest: Option<(Option<jiff::Timestamp>, String)> = None;
    for pod in pods {
        for container in pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()) {
            let states = [container.state.as_ref(), container.last_state.as_ref()];
            let Some(ended) = states.into_iter().flatten().find_map(|state| state.terminated.as_ref()) else {
                continue;
            };
            let Some(message) = ended.message.as_deref().filter(|text| !text.trim().is_empty()) else { continue };
            let time = ended.finished_at.as_ref().map(|time| time.0);
            if newest.as_ref().is_none_or(|(before, _)| *before < time) {
                newest = Some((time, plain(message)));
            }
        }
    }
    newest.map(|(_, text)| text)
}

fn plain(message: &str) -> String {
    serde_json::from_str::<serde_json::Value>(message)
        .ok()
        .and_then(|json| json.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| message.to_owned())
}

/// How it is going: what stands in the pod's way, or how far it is.
async fn progress(cx: &Cx, job: &BatchJob, pods: &[Arc<Pod>]) -> Result<(Reason, String)> {
    // One pod, so nothing need be remembered of those that lack.
    if let Some(finding) = Remembered::default().finding(cx, job, pods).await?
        && finding.reason != Reason::Running
    {
        return Ok((finding.reason, finding.message()));
    }
    let runs = pods.iter().any(|pod| pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running"));
    let message = if runs { "a pod is fetching what the Commit puts" } else { STARTING };
    Ok((Reason::Importing, message.to_owned()))
}
