//! What a reference to a commit stands for: a uid, a branch, or the name of a Commit object, in that order.
//!
//! Branches and names may not look like a UUID, so the order never hides anything. Names are looked up in
//! the store, not among the objects: a Commit whose object was deleted or pruned still has its name.

use std::sync::Arc;

use kube::ResourceExt;
use varve_api::{
    commit::Commit as CommitObject,
    conditions::{self, HasConditions as _, Reason},
    repo::Repo,
};
use varve_format::{BranchName, CommitName, name::has_uuid_form};
use varve_store::{Commit, Store};

use crate::{
    cx::Cx,
    error::{Error, Result},
    heads,
};

/// Finds the commit that `reference` stands for in `repo`. Where it is not there, the error's reason is
/// `CommitNotFound` (`CommitNotReady`, `CommitFailed` where an object of that name is on its way, or
/// stuck); `field` is the user's field, for the message.
pub(crate) async fn find(cx: &Cx, store: &Store, repo: &Arc<Repo>, reference: &str, field: &str) -> Result<Commit> {
    let repo = cx.heads.newest(cx, repo);
    let repo_name = repo.name_any();
    let uid = heads::uid(&repo)?;
    let read = |what: String| move |error| Error::store(what)(error);
    if has_uuid_form(reference) {
        let commit = reference.parse().map_err(|_| not_found(field, reference, &repo_name))?;
        // The newest commit of a branch may not have its pointer yet.
        if let Some(head) = branch_at(&repo, commit)? {
            return store.read_head(&head).await.map_err(read(format!("read commit {reference}")));
        }
        let found = store.find_commit(uid, commit).await.map_err(read(format!("find commit {reference}")))?;
        return found.ok_or_else(|| not_found(field, reference, &repo_name));
    }
    if let Ok(branch) = BranchName::parse(reference)
        && let Some(head) = heads::read(&repo, &branch)?
    {
        return store.read_head(&head).await.map_err(read(format!("read the head of branch {branch}")));
    }
    let Ok(name) = CommitName::parse(reference) else {
        return Err(not_found(field, reference, &repo_name));
    };
    let named = store.name_of(uid, &name).await.map_err(read(format!("find commit {name}")))?;
    if let Some(named) = named {
        if let Some(head) = branch_at(&repo, named.uid)? {
            return store.read_head(&head).await.map_err(read(format!("read commit {name}")));
        }
        let found = store.find_commit(uid, named.uid).await.map_err(read(format!("find commit {name}")))?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let object = cx.caches.commits.get(&repo.namespace().unwrap_or_default(), reference);
    Err(match object.filter(|object| object.spec.repo == repo_name) {
        Some(object) => on_its_way(field, &object),
        None => not_found(field, reference, &repo_name),
    })
}

/// The branch whose head is this commit, if there is one.
fn branch_at(repo: &Repo, commit: uuid::Uuid) -> Result<Option<varve_format::Head>> {
    let text = commit.to_string();
    let branches = repo.status.iter().flat_map(|status| &status.branches);
    let Some(branch) = branches.into_iter().find(|branch| branch.head.commit == text) else { return Ok(None) };
    let Ok(name) = BranchName::parse(&branch.name) else { return Ok(None) };
    heads::read(repo, &name)
}

fn on_its_way(field: &str, object: &CommitObject) -> Error {
    let name = object.name_any();
    if conditions::holds(object.conditions(), conditions::Type::Stalled) {
        return Error::stalled(
            Reason::CommitFailed,
            format!("{field} names Commit {name}, which is stalled itself: see kubectl describe vcommit {name}"),
        );
    }
    Error::waiting(Reason::CommitNotReady, format!("{field} names Commit {name}, which is not ready yet"))
}

fn not_found(field: &str, reference: &str, repo: &str) -> Error {
    Error::stalled(
        Reason::CommitNotFound,
        format!(
            "{field} names {reference:?}, which Repo {repo} does not have: it must be the uid of a commit, a branch \
             with a commit, or the name of a Commit"
        ),
    )
}
