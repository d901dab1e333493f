//! What happens to a Repo's data when the Repo is deleted.
//!
//! `Retain` needs no finalizer: the object goes, the data stays. `Delete` marks the repo deleted in the
//! store first, and for that it holds the object by a finalizer; never for a store that cannot be reached
//! for good: when the Secret or the namespace is going away, or the store is not ours, it lets go.

use std::sync::Arc;

use kube::{ResourceExt, runtime::controller::Action};
use serde_json::json;
use varve_api::{
    conditions::Reason,
    repo::{DeletionPolicy, Repo},
};

use super::repo_name;
use crate::{
    act::{Call, Verb},
    cx::Cx,
    error::{Error, Result, Retry},
    runner::chain,
    stores,
};

/// Holds a Repo whose data is to be given up.
const FINALIZER: &str = "varve.dev/data";

/// Puts the finalizer on where the policy needs it, and takes it off where it does no more.
pub(super) async fn prepare(repo: &Arc<Repo>, cx: &Cx) -> Result<()> {
    let needs = repo.spec.deletion_policy == DeletionPolicy::Delete;
    set(repo, cx, needs).await
}

/// The Repo is being deleted: gives its data up if that is wanted, then lets the object go.
pub(super) async fn finish(repo: &Arc<Repo>, cx: &Cx) -> Result<Action> {
    if !has(repo) {
        return Ok(Action::await_change());
    }
    let namespace = repo.namespace().unwrap_or_default();
    let is_ending = cx
        .caches
        .namespaces
        .get_cluster(&namespace)
        .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
    if repo.spec.deletion_policy == DeletionPolicy::Delete && !is_ending {
        match give_up(repo, cx).await {
            Ok(()) => {}
            Err(error) if error.retry() == Retry::WhenChanged => {
                let (repo, error) = (repo.name_any(), chain(&error));
                tracing::warn!(namespace, repo, error, "the Repo goes, its data stays: the store cannot be written");
            }
            Err(error) => return Err(error),
        }
    }
    set(repo, cx, false).await?;
    Ok(Action::await_change())
}

async fn give_up(repo: &Arc<Repo>, cx: &Cx) -> Result<()> {
    let namespace = repo.namespace().unwrap_or_default();
    let connection =
        cx.stores.open(&namespace, Some(&repo.spec.store_ref.name)).await.map_err(|error| match error {
            // It was there when the Repo was made: it is gone for good.
            Error::Told { reason: reason @ Reason::StoreSecretMissing, message, .. } => Error::stalled(reason, message),
            error => error,
        })?;
    let name = repo_name(repo)?;
    let store = &connection.store;
    let Some(record) = store.repo(&name).await.map_err(|error| stores::about(&connection.secret, &error))? else {
        return Ok(());
    };
    let shown = repo.status.as_ref().and_then(|status| status.uid.as_deref());
    if !record.live || shown.is_some_and(|shown| shown != record.uid.to_string()) {
        return Ok(()); // given up already, or another's by now
    }
    cx.act
        .step(Call::new(Verb::Store, "repos", name.to_string()), || async {
            store.delete_repo(&name).await.map_err(|error| stores::about(&connection.secret, &error))
        })
        .await?;
    tracing::info!(namespace, repo = repo.name_any(), uid = %record.uid, "gave up a Repo's data");
    Ok(())
}

fn has(repo: &Repo) -> bool {
    repo.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

async fn set(repo: &Arc<Repo>, cx: &Cx, wanted: bool) -> Result<()> {
    if has(repo) == wanted {
        return Ok(());
    }
    let mut finalizers: Vec<&str> = repo.finalizers().iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    // With the version, since a merge replaces the whole list: another's finalizer must not get lost.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": repo.resource_version()}});
    match cx.act.merge(repo.as_ref(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
