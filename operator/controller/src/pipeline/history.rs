//! What a branch has had since a Pipeline last took something of it: from the `Ready` head back, parent by
//! parent, to what the output's head records.
//!
//! Commits never change, so each is read once and remembered. A walk ends at the recorded commit, or where
//! the branch turns out not to descend from it (it was rolled back, or made anew): then its head alone counts.
//! Nothing recorded: the head as it was when the Pipeline was made, and all after it (`docs/decisions/0071`).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;
use varve_api::Commit;
use varve_engine::trigger::{Ancestor, Candidate};
use varve_format::{CommitIdentity, Hash, Head, commit_uid};
use varve_store::{Commit as StoredCommit, Store};

use crate::{
    commit::is_ready,
    cx::Cx,
    error::{Error, Result},
    memory::Memory,
};

/// Commits remembered. One is its closure and little more.
const REMEMBERED: usize = 4096;
/// How young a head may be and still have its Commit object on the way. Older ones without an object are
/// those whose object was pruned or deleted: they are as good as `Ready`.
const OBJECT_ON_ITS_WAY: Duration = Duration::from_secs(10);

/// A commit as the walk needs it.
#[derive(Debug)]
pub(crate) struct Known {
    /// What triggers see of it.
    pub(crate) candidate: Candidate,
    /// Its first parent.
    pub(crate) parent: Option<Uuid>,
    /// Its seal.
    pub(crate) seal: Hash,
    /// Its identity.
    pub(crate) identity: CommitIdentity,
}

/// Commits that were read.
#[derive(Default)]
pub(crate) struct History {
    known: Memory<(Uuid, Uuid), Arc<Known>, REMEMBERED>,
}

/// What a branch has for a Pipeline.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// The recorded commit, if it is there.
    pub(crate) last: Option<Candidate>,
    /// `Ready` commits after it, oldest first.
    pub(crate) new: Vec<Candidate>,
    /// The head's Commit is not `Ready` yet, and nothing but time may tell that it is.
    pub(crate) look_again: bool,
}

/// Whose branch is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// The Repo's name.
    pub(crate) repo: &'a str,
    /// Where its data lies.
    pub(crate) store: &'a Store,
}

/// Where a Pipeline begins to take a branch's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// After the commit that its output records.
    After(Recorded),
    /// Nothing is recorded: at the head as it was when the Pipeline was made, in nanoseconds since 1970.
    Made(i64),
    /// At the newest commit.
    Head,
}

/// A commit that an output records for one of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Its uid.
    pub(crate) uid: Uuid,
    /// Its place in its branch.
    pub(crate) seq: u64,
}

impl History {
    /// What the branch of `head` has from `start` on.
    pub(crate) async fn since(&self, cx: &Cx, of: &Of<'_>, head: &Head, start: Start) -> Result<Since> {
        let store = of.store;
        let mut since = Since::default();
        let mut start = start;
        if let Start::After(recorded) = start {
            since.last = self.find(store, head.repo, recorded.uid).await?.map(|known| known.candidate.clone());
            if since.last.is_none() {
                start = Start::Head;
            }
        }
        let Some(newest) = self.newest_ready(cx, of, head, &mut since.look_again).await? else {
            return Ok(since);
        };
        let mut at = newest.clone();
        loop {
            let is_last = match start {
                Start::After(recorded) if at.candidate.uid == recorded.uid => break,
                Start::After(recorded) if at.identity.sequence <= recorded.seq => {
                    since.new = vec![newest.candidate.clone()]; // it does not descend from what is recorded
                    break;
                }
                Start::After(_) => false,
                Start::Made(time_ns) => at.identity.time_ns < time_ns,
                Start::Head => true,
            };
            since.new.push(at.candidate.clone());
            let Some(parent) = at.parent.filter(|_| !is_last) else { break };
            let Some(before) = self.find(store, head.repo, parent).await? else { break };
            at = before;
        }
        since.new.reverse();
        Ok(since)
    }

    /// The newest commit from `head` back whose Commit is `Ready`.
    async fn newest_ready(
        &self,
        cx: &Cx,
        of: &Of<'_>,
        head: &Head,
        look_again: &mut bool,
    ) -> Result<Option<Arc<Known>>> {
        let mut at = Some(self.at(of.store, head).await?);
        let mut is_young = is_young(head, cx.now());
        while let Some(known) = at {
            match standing(cx, of, &known) {
                Standing::Ready => return Ok(Some(known)),
                Standing::NoObject if !is_young => return Ok(Some(known)),
                Standing::NoObject => *look_again = true,
                Standing::NotReady => {}
            }
            is_young = false; // its successor was committed after it was durable
            at = match known.parent {
                Some(parent) => self.find(of.store, head.repo, parent).await?,
                None => None,
            };
        }
        Ok(None)
    }

    /// The commit at `head`.
    pub(crate) async fn at(&self, store: &Store, head: &Head) -> Result<Arc<Known>> {
        if let Some(known) = self.known.get(&(head.repo, head.commit)) {
            return Ok(known);
        }
        let commit = store.read_head(head).await.map_err(Error::store(format_args!("read commit {}", head.commit)))?;
        self.remember(head.repo, commit)
    }

    /// A commit by its uid, if a head ever moved to it.
    pub(crate) async fn find(&self, store: &Store, repo: Uuid, uid: Uuid) -> Result<Option<Arc<Known>>> {
        if let Some(known) = self.known.get(&(repo, uid)) {
            return Ok(Some(known));
        }
        let found = store.find_commit(repo, uid).await.map_err(Error::store(format_args!("read commit {uid}")))?;
        found.map(|commit| self.remember(repo, commit)).transpose()
    }

    fn remember(&self, repo: Uuid, commit: StoredCommit) -> Result<Arc<Known>> {
        let known = Arc::new(known(commit)?);
        self.known.insert((repo, known.candidate.uid), known.clone());
        Ok(known)
    }
}

fn known(commit: StoredCommit) -> Result<Known> {
    let StoredCommit { identity, seal, .. } = commit;
    let broken = |error: varve_format::DecodeError| Error::Bug(format!("commit identity: {error}"));
    let closure = identity.provenance.iter().flat_map(|provenance| &provenance.closure);
    let closure = closure.map(|ancestor| {
        Ok(Ancestor {
            repo: ancestor.repo_uid().map_err(broken)?,
            repo_name: ancestor.repo_name.clone(),
            branch: ancestor.branch.clone(),
            commit: ancestor.commit().map_err(broken)?,
        })
    });
    let candidate = Candidate {
        uid: identity.uid().map_err(broken)?,
        seq: identity.sequence,
        run: identity.run().map_err(broken)?,
        closure: closure.collect::<Result<_>>()?,
    };
    let parent = identity.parents.first().map(|parent| parent.uid().map_err(broken)).transpose()?;
    Ok(Known { candidate, parent, seal, identity })
}

enum Standing {
    Ready,
    NotReady,
    NoObject,
}

/// What the API says of a commit: its Commit object is `Ready`, is not yet, or isn't there.
fn standing(cx: &Cx, of: &Of<'_>, known: &Known) -> Standing {
    let uid = known.candidate.uid;
    let text = uid.to_string();
    let named = cx.caches.commits.get(of.namespace, &known.identity.name).filter(|commit| {
        let recorded = commit.status.as_ref().and_then(|status| status.uid.as_deref());
        commit.spec.repo == of.repo
            && match recorded {
                Some(recorded) => recorded == text,
                None => derived_uid(commit) == Some(uid),
            }
    });
    match named {
        None => Standing::NoObject,
        Some(commit) if is_ready(&commit) => Standing::Ready,
        Some(_) => Standing::NotReady,
    }
}

/// The uid that the commit of a Commit object gets.
fn derived_uid(commit: &Commit) -> Option<Uuid> {
    let created = commit.metadata.creation_timestamp.as_ref()?;
    Some(commit_uid(created.0.as_millisecond(), commit.metadata.uid.as_deref()?))
}

fn is_young(head: &Head, now: Timestamp) -> bool {
    let age = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX).saturating_sub(head.time_ns);
    u64::try_from(age).map_or(true, |age| Duration::from_nanos(age) < OBJECT_ON_ITS_WAY)
}
