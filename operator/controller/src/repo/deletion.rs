//! What happens to a Repo's data when the Repo is deleted.
//!
//! `Retain` needs no finalizer: the object goes, the data stays. `Delete` marks the repo deleted in the
//! store first, and for that it holds the object by a finalizer, until the store has taken it, and says in
//! the conditions what hinders it. It lets go where nothing can be marked any more: the Secret is gone, the
//! namespace goes, the store is another's.

use std::sync::Arc;

use kube::{ResourceExt, runtime::controller::Action};
use serde_json::json;
use varve_api::{
    conditions::Reason,
    repo::{DeletionPolicy, Repo},
};

use super::{CONCERN, repo_name, status, tell};
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
            Err(error) if is_out_of_reach(&error) => {
                let (repo, error) = (repo.name_any(), chain(&error));
                tracing::warn!(namespace, repo, error, "the Repo goes, its data stays: the store is not at hand");
            }
            Err(error) => {
                let (state, reason, message) = tell(&error);
                let message = format!(
                    "the data cannot be given up, as deletionPolicy Delete asks: {message}. Set deletionPolicy to Retain to \
                     delete the Repo and keep its data"
                );
                let status = status(repo, cx, None, (state, reason, message));
                cx.status.write(CONCERN, cx.heads.fresh(repo).as_ref(), &status).await?;
                return Err(error);
            }
        }
    }
    set(repo, cx, false).await?;
    Ok(Action::await_change())
}

/// Whether there is nothing left to mark, and will be nothing.
fn is_out_of_reach(error: &Error) -> bool {
    let Error::Told { reason, retry: Retry::WhenChanged, .. } = error else { return false };
    matches!(reason, Reason::StoreSecretMissing | Reason::StoreOwnedElsewhere)
}

async fn give_up(repo: &Arc<Repo>, cx: &Cx) -> Result<()> {
    let namespace = repo.namespace().unwrap_or_default();
    let connection = cx.stores.open(&namespace, Some(&repo.spec.store_ref.name)).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_was_to_go_is_left_behind_only_where_nobody_can_mark_it() {
        for (error, lets_go) in [
            (Error::stalled(Reason::StoreSecretMissing, "there is no Secret"), true),
            (Error::waiting(Reason::StoreSecretMissing, "the Secret is being read"), false),
            (Error::stalled(Reason::StoreOwnedElsewhere, "another's"), true),
            (Error::stalled(Reason::StoreUnauthorized, "the key has run out"), false),
            (Error::stalled(Reason::StoreConfigInvalid, "url is wrong"), false),
            (Error::stalled(Reason::StoreSecretNotLabelled, "no label"), false),
            (Error::waiting(Reason::StoreUnreachable, "no answer"), false),
        ] {
            assert_eq!(is_out_of_reach(&error), lets_go, "{error}");
        }
    }
}
