//! How a Commit lands.
//!
//! 1. Has it landed? The store's `names/` knows, also from before this cluster. Asked while the edits are
//!    being made, so that a small commit costs three sequential trips to the store: up with the packs,
//!    the reflog after the head has moved, and its companions.
//! 2. What it draws on is found; what lies outside is fetched by a pod.
//! 3. In its turn on the branch: edits on the head's tree, record, head. Lost to another writer, it makes
//!    the same edits on the new head: same uid, new parent and seal.

use std::{pin::pin, sync::Arc};

use futures::future::{self, Either};
use kube::ResourceExt;
use uuid::Uuid;
use varve_api::{
    commit::{Commit, CommitStatus, ResolvedReference},
    conditions::Reason,
    repo::Repo,
};
use varve_format::{
    BranchName, CommitIdentity, CommitName, Hash, Head, MapKind,
    commit::{ChangeSummary, Parent, commit_uid, spec_hash},
};
use varve_store::{Commit as StoredCommit, NodeRef, Session, Store};

use super::{
    changes::{self, Sources},
    import, repo,
    shown::{status_of, status_of_parts},
    summary::summarize,
    waiting::Waiting,
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    heads::{self, HeadMove, Moved, NameClaim, next_head},
    pipeline::observe::writers,
    references,
};

/// How often a commit that loses its branch to others is made anew before the reconciler's backoff.
const LAND_TRIES: u32 = 8;

/// References that a status shows at most; the schema's limit.
const MAX_REFERENCES: usize = 32;

/// What is fixed about a Commit from the start.
struct Begun<'a> {
    commit: &'a Commit,
    repo: Arc<Repo>,
    repo_uid: Uuid,
    store: Store,
    branch: BranchName,
    uid: Uuid,
    name: CommitName,
    spec_hash: Hash,
}

/// Lands the Commit, or finds that it has landed. Answers with its status, but for the conditions.
pub(super) async fn land(commit: &Arc<Commit>, cx: &Cx, waiting: &Waiting) -> Result<CommitStatus> {
    let begun = begin(commit, cx).await?;
    let mut sources = Sources::default();
    let changes = commit.spec.changes.as_deref().unwrap_or_default();
    if varve_engine::commit::fetches(changes).next().is_some() {
        // Fetching is slow and a pod: find out first whether it is all done already.
        if let Some(found) = begun.landed(cx).await? {
            return Ok(status_of(&found, Vec::new()));
        }
        let results = import::results(cx, commit, &begun.store, &begun.repo, waiting).await?;
        changes::imported(commit, &results, &mut sources)?;
    }
    let _turn = cx.heads.turn(begun.repo_uid, &begun.branch).await;
    for _ in 0..LAND_TRIES {
        let base = cx.heads.open(cx, &begun.repo, &begun.store, &begun.branch).await?;
        if let Some(head) = base.as_ref().filter(|base| base.commit == begun.uid) {
            // A crash came between the head's move and the rest, which has been made up for just now.
            let stored = begun.store.read_head(head).await;
            return Ok(status_of(&stored.map_err(Error::store("read the commit"))?, Vec::new()));
        }
        let built = match begun.land_or_build(cx, base, &mut sources).await? {
            Either::Left(found) => return Ok(status_of(&found, Vec::new())),
            Either::Right(built) => built,
        };
        match cx.heads.advance(cx, &begun.repo, &begun.store, std::slice::from_ref(&built.a_move)).await? {
            Moved::Won(_) => {
                import::clean_up(cx, commit).await?;
                return Ok(built.status);
            }
            Moved::Lost(_) => {
                tracing::info!(commit = commit.name_any(), branch = %begun.branch, "the branch moved on: editing its new head");
            }
        }
    }
    Err(Error::HeadMoved { repo: commit.spec.repo.clone(), branch: commit.spec.branch.clone() })
}

async fn begin<'a>(commit: &'a Commit, cx: &Cx) -> Result<Begun<'a>> {
    let spec = &commit.spec;
    let invalid = |error: varve_format::NameError| Error::stalled(Reason::InvalidPath, error.to_string());
    let branch = BranchName::parse(&spec.branch).map_err(invalid)?;
    let name = CommitName::parse(&commit.name_any()).map_err(invalid)?;
    let repo = repo(commit, cx, &spec.repo)?;
    let namespace = commit.namespace().unwrap_or_default();
    let connection = cx.stores.open(&namespace, Some(&repo.spec.store_ref.name)).await?;
    let created = commit.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond());
    let json = serde_json::to_value(spec).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(Begun {
        commit,
        repo_uid: heads::uid(&repo)?,
        repo,
        store: connection.store,
        branch,
        uid: commit_uid(created, &commit.uid().unwrap_or_default()),
        name,
        spec_hash: spec_hash(&json),
    })
}

/// A commit in the store, the move that makes it the head, and what is then shown of it.
struct Built {
    a_move: HeadMove,
    status: CommitStatus,
}

impl Begun<'_> {
    /// The commit, if it has landed; else it is made on `base`.
    ///
    /// Both begin at once, so that a new commit does not wait for the look-up. The look-up is one small read,
    /// and a commit that is found ends the making: a cluster that gets its old Commits back must not fetch
    /// and store them all again.
    async fn land_or_build(
        &self,
        cx: &Cx,
        base: Option<Head>,
        sources: &mut Sources,
    ) -> Result<Either<StoredCommit, Built>> {
        match future::select(pin!(self.landed(cx)), pin!(self.build(cx, base, sources))).await {
            Either::Left((landed, build)) => match landed? {
                Some(found) => Ok(Either::Left(found)),
                None => build.await.map(Either::Right),
            },
            Either::Right((built, landed)) => match landed.await? {
                Some(found) => Ok(Either::Left(found)),
                None => built.map(Either::Right),
            },
        }
    }

    /// The commit, if it has landed: now, before a crash, or in an earlier cluster's life.
    async fn landed(&self, cx: &Cx) -> Result<Option<StoredCommit>> {
        let named = self.store.name_of(self.repo_uid, &self.name).await;
        let Some(named) = named.map_err(Error::store(format_args!("look up the name {}", self.name)))? else {
            return Ok(None);
        };
        if named.uid != self.uid && named.spec_hash != Some(self.spec_hash) {
            return Err(Error::stalled(
                Reason::NameTaken,
                format!(
                    "Repo {} has had another Commit {} with another spec (uid {}): give this one another name",
                    self.commit.spec.repo, self.name, named.uid
                ),
            ));
        }
        let reference = named.uid.to_string();
        references::find(cx, &self.store, &self.repo, &reference, "the store's record of its name").await.map(Some)
    }

    /// Makes the commit on the branch's head, `base`.
    async fn build(&self, cx: &Cx, base: Option<Head>, sources: &mut Sources) -> Result<Built> {
        self.may_commit(cx)?;
        let parent = match &base {
            Some(base) => Some(
                self.store.read_head(base).await.map_err(Error::store(format_args!("read commit {}", base.commit)))?,
            ),
            None => None,
        };
        let mut resolved = self.check_parent(cx, base.as_ref()).await?;
        let before = parent.as_ref().and_then(|parent| parent.map(&MapKind::TREE)).cloned();
        let before = before.unwrap_or_else(|| NodeRef::empty(&MapKind::TREE));
        let session = self.store.session();
        let tree = self.tree(cx, &session, &before, sources, &mut resolved).await?;
        let summary = summarize(&self.store, Some(&before), &tree).await?;
        let identity = self.identity(base.as_ref(), summary, cx);
        let empty = |kind: MapKind| (kind.clone(), NodeRef::empty(&kind));
        let maps = vec![(MapKind::TREE, tree.clone()), empty(MapKind::PROV), empty(MapKind::DATUMS)];
        let reference = session.write_commit(identity.clone(), maps, None).await.map_err(changes::refused)?;
        session.flush().await.map_err(Error::store("write the commit"))?;
        let next = next_head(
            self.repo_uid,
            &self.branch,
            base.as_ref(),
            reference.uid,
            reference.seal,
            reference.record,
            cx.now(),
        );
        let a_move = HeadMove {
            branch: self.branch.clone(),
            base,
            next,
            files: tree.files,
            bytes: tree.bytes,
            name: Some(NameClaim { name: self.name.clone(), spec_hash: Some(self.spec_hash) }),
        };
        let mut status = status_of_parts(&identity, Some(&tree), (reference.seal, reference.record));
        resolved.truncate(MAX_REFERENCES);
        status.references = resolved;
        Ok(Built { a_move, status })
    }

    /// Whether anybody may commit to this branch by hand.
    fn may_commit(&self, cx: &Cx) -> Result<()> {
        let (repo, branch) = (&self.commit.spec.repo, &self.commit.spec.branch);
        let namespace = self.commit.namespace().unwrap_or_default();
        if let Some(writer) = writers(cx, &namespace, repo, branch).first() {
            return Err(Error::stalled(
                Reason::OutputBranch,
                format!(
                    "branch {branch} of Repo {repo} is the output of Pipeline {}, which alone commits to it: commit to \
                     another branch",
                    writer.name_any()
                ),
            ));
        }
        let repo_now = cx.heads.newest(cx, &self.repo);
        if let Some(pin) = repo_now.spec.pin(branch) {
            return Err(Error::stalled(
                Reason::BranchPinned,
                format!(
                    "branch {branch} of Repo {repo} is pinned to {pin}: take its entry out of spec.branches, or commit \
                     to another branch"
                ),
            ));
        }
        Ok(())
    }

    /// Whether the parent that the spec asks for is the head.
    async fn check_parent(&self, cx: &Cx, base: Option<&Head>) -> Result<Vec<ResolvedReference>> {
        let Some(wanted) = &self.commit.spec.parent else { return Ok(Vec::new()) };
        let found =
            references::find(cx, &self.store, &self.repo, wanted, "parent").await.map_err(|error| match error {
                Error::Told { reason: Reason::CommitNotFound, message, retry } => {
                    Error::Told { reason: Reason::ParentNotFound, message, retry }
                }
                error => error,
            })?;
        if base.is_some_and(|base| base.commit == found.uid) {
            return Ok(vec![self.resolved("parent", wanted, found.uid)]);
        }
        let now = base.map_or("has no commit yet".to_owned(), |base| format!("is at commit {}", base.commit));
        Err(Error::stalled(
            Reason::ParentNotHead,
            format!(
                "parent is {wanted} ({}), but branch {} of Repo {} {now}: make a new Commit on that, or leave parent out",
                found.uid, self.branch, self.commit.spec.repo
            ),
        ))
    }

    fn resolved(&self, field: &str, reference: &str, commit: Uuid) -> ResolvedReference {
        ResolvedReference {
            field: field.to_owned(),
            reference: reference.to_owned(),
            repo: self.commit.spec.repo.clone(),
            commit: commit.to_string(),
        }
    }

    /// The tree that this Commit makes of `before`.
    async fn tree(
        &self,
        cx: &Cx,
        session: &Session,
        before: &NodeRef,
        sources: &mut Sources,
        resolved: &mut Vec<ResolvedReference>,
    ) -> Result<NodeRef> {
        let spec = &self.commit.spec;
        if let Some(target) = &spec.revert_to {
            let target_commit = references::find(cx, &self.store, &self.repo, target, "revertTo").await?;
            resolved.push(self.resolved("revertTo", target, target_commit.uid));
            let tree = target_commit.map(&MapKind::TREE).cloned();
            return Ok(tree.unwrap_or_else(|| NodeRef::empty(&MapKind::TREE)));
        }
        if let Some(uploaded) = &spec.tree {
            return super::uploaded::adopt(&self.store, session, before, uploaded).await;
        }
        let tree = changes::apply(cx, self.commit, session, before, sources).await?;
        resolved.extend(sources.resolved.iter().cloned());
        Ok(tree)
    }

    fn identity(&self, base: Option<&Head>, changes: ChangeSummary, cx: &Cx) -> CommitIdentity {
        let spec = &self.commit.spec;
        CommitIdentity {
            uid: self.uid.as_bytes().to_vec(),
            repo_uid: self.repo_uid.as_bytes().to_vec(),
            repo_name: spec.repo.clone(),
            name: self.name.to_string(),
            spec_hash: Some(self.spec_hash.as_bytes().to_vec()),
            branch: self.branch.to_string(),
            sequence: base.map_or(1, |base| base.seq + 1),
            parents: base.map(|base| Parent::new(base.commit, base.seal)).into_iter().collect(),
            maps: Vec::new(),
            provenance: None,
            author: String::new(),
            time_ns: i64::try_from(cx.now().as_nanosecond()).unwrap_or(i64::MAX),
            message: spec.message.clone().unwrap_or_default(),
            changes: Some(changes),
            run: self.uid.as_bytes().to_vec(),
        }
    }
}
