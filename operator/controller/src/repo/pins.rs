//! Pinned branches: `spec.branches[].head` moves a branch to the commit it names, back or forth.
//!
//! A pin's move is a head like any other: the next number, an entry in the reflog, nothing lost.

use std::sync::Arc;

use kube::ResourceExt;
use varve_api::{conditions::Reason, repo::Repo};
use varve_format::{BranchName, Hash, MapKind};
use varve_store::Store;

use crate::{
    cx::Cx,
    error::{Error, Result, Retry},
    heads::{HeadMove, Moved, next_head, uid},
    references,
};

/// Moves every pinned branch to where it is pinned.
pub(super) async fn hold(repo: &Arc<Repo>, cx: &Cx, store: &Store) -> Result<()> {
    for pinned in &repo.spec.branches {
        let name = BranchName::parse(&pinned.name)
            .map_err(|error| Error::stalled(Reason::PinNotFound, format!("spec.branches: {error}")))?;
        hold_one(repo, cx, store, &name, &pinned.head).await?;
    }
    Ok(())
}

async fn hold_one(repo: &Arc<Repo>, cx: &Cx, store: &Store, branch: &BranchName, wanted: &str) -> Result<()> {
    let field = format!("spec.branches[{branch}].head");
    if wanted == branch.as_str() {
        return Ok(()); // pinned to itself: it stays where it is
    }
    let target = references::find(cx, store, repo, wanted, &field).await.map_err(as_pin)?;
    let uid = uid(&cx.heads.fresh(repo))?;
    let _turn = cx.heads.turn(uid, branch).await;
    let base = cx.heads.open(cx, repo, store, branch).await?;
    if base.as_ref().is_some_and(|base| base.commit == target.uid) {
        return Ok(());
    }
    let tree = target.identity.map(&MapKind::TREE);
    let next = next_head(uid, branch, base.as_ref(), target.uid, target.seal, target.record, cx.now());
    let a_move = HeadMove {
        branch: branch.clone(),
        base,
        next,
        files: tree.map_or(0, |tree| tree.files),
        bytes: tree.map_or(0, |tree| tree.bytes),
        name: None,
    };
    debug_assert_ne!(a_move.next.seal, Hash::ZERO, "a commit that was read has a seal");
    match cx.heads.advance(cx, repo, store, &[a_move]).await? {
        Moved::Won(_) => {
            tracing::info!(repo = repo.name_any(), %branch, commit = %target.uid, "moved a branch to where it is pinned");
            Ok(())
        }
        Moved::Lost(_) => Err(Error::HeadMoved { repo: repo.name_any(), branch: branch.to_string() }),
    }
}

/// What cannot be found is the pin's own reason; a Commit that is on its way stays that.
fn as_pin(error: Error) -> Error {
    match error {
        Error::Told { reason: Reason::CommitNotFound, message, retry: Retry::WhenChanged } => {
            Error::stalled(Reason::PinNotFound, message)
        }
        error => error,
    }
}
