//! The reflog: what the heads of branches were, one object per move, chained by hash; and the pointers from a
//! commit's uid to its record.
//!
//! An entry is a pure function of the head in status, so writing it twice writes the same bytes under the same key.

use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;
use varve_format::{BranchName, Head, keys};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::objects::Created;
use crate::store::Store;

/// Reflog entries read at once.
const READS_IN_FLIGHT: usize = 16;

/// Entries that a page of a reflog has.
pub const REFLOG_PAGE: usize = 1_000;

/// A branch's reflog, read from its newest entry back, a page at a time. In memory are the keys alone.
#[derive(Debug)]
pub struct Reflog {
    store: Store,
    /// Keys not read yet, the oldest first.
    keys: Vec<String>,
}

impl Reflog {
    /// The next older entries, at most [`REFLOG_PAGE`], by ascending sequence; none where there are no more. Two
    /// entries of one sequence are two writers' (only one of them is on the chain).
    pub async fn older(&mut self) -> Result<Vec<Head>> {
        self.newest(REFLOG_PAGE).await
    }

    /// The next older entries, at most `limit`.
    pub async fn newest(&mut self, limit: usize) -> Result<Vec<Head>> {
        let page = self.keys.split_off(self.keys.len().saturating_sub(limit));
        let store = &self.store;
        let entries = futures::stream::iter(page).map(|key| async move {
            let bytes = store.objects().get(&key).await?;
            parse(&key, &bytes)
        });
        entries.buffered(READS_IN_FLIGHT).try_collect().await
    }
}

impl Store {
    /// Writes the entry of a head.
    pub async fn put_reflog(&self, head: &Head) -> Result<()> {
        self.objects().put(&keys::reflog(head), head.to_text()).await
    }

    /// The entries of a branch with a sequence greater than `after` (0: all of them), to be read from the newest back.
    /// One LIST, from `after` on.
    pub async fn reflog(&self, repo: Uuid, branch: &BranchName, after: u64) -> Result<Reflog> {
        // Keys begin with the sequence in 20 digits: an entry of a sequence sorts after its bare digits.
        let from = (after > 0).then(|| keys::reflog_from(repo, branch, after.saturating_add(1)));
        let listed = self.objects().list(&keys::reflog_prefix(repo, branch), from.as_deref())?;
        let mut keys: Vec<String> = listed.try_collect().await?;
        keys.sort_unstable();
        Ok(Reflog { store: self.clone(), keys })
    }

    /// The last page of a branch's entries, by ascending sequence.
    pub async fn reflog_tail(&self, repo: Uuid, branch: &BranchName) -> Result<Vec<Head>> {
        self.reflog(repo, branch, 0).await?.older().await
    }

    /// The entries of a branch with a sequence greater than `seq`, by ascending sequence.
    pub async fn reflog_after(&self, repo: Uuid, branch: &BranchName, seq: u64) -> Result<Vec<Head>> {
        self.reflog(repo, branch, seq).await?.newest(usize::MAX).await
    }

    /// The branches that have a reflog, hidden ones included, sorted.
    pub async fn reflog_branches(&self, repo: Uuid) -> Result<Vec<BranchName>> {
        let prefix = keys::reflog_repo_prefix(repo);
        let mut branches: Vec<BranchName> = Vec::new();
        let mut listed = self.objects().list(&prefix, None)?;
        while let Some(key) = listed.try_next().await? {
            let name = key.strip_prefix(&prefix).and_then(|rest| rest.trim_start_matches('/').split('/').next());
            let Some(branch) = name.and_then(|name| BranchName::parse_stored(name).ok()) else { continue };
            if !branches.contains(&branch) {
                branches.push(branch);
            }
        }
        branches.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(branches)
    }

    /// Writes the pointer from a commit's uid to its record; after the head has moved. The first stands: a branch that
    /// is pinned to a commit of another one adds nothing to where that commit lies.
    pub async fn record_commit(&self, head: &Head) -> Result<()> {
        let key = keys::commit(head.repo, head.commit);
        let Created::Stands(bytes) = self.objects().create(&key, head.to_text().into()).await? else { return Ok(()) };
        let stands = parse(&key, &bytes)?;
        if stands.commit == head.commit && stands.seal == head.seal { Ok(()) } else { Err(Error::Conflict { key }) }
    }

    /// The head that a commit was when a branch first moved to it; none if no head ever did.
    pub async fn find_head(&self, repo: Uuid, commit: Uuid) -> Result<Option<Head>> {
        let key = keys::commit(repo, commit);
        let Some(bytes) = self.objects().find(&key).await? else { return Ok(None) };
        let head = parse(&key, &bytes)?;
        if head.commit == commit {
            return Ok(Some(head));
        }
        Err(Error::corrupt(key, format!("it points at commit {}", head.commit)))
    }

    /// A commit by its uid, its seal compared with the pointer's; none if no head ever moved to it.
    pub async fn find_commit(&self, repo: Uuid, commit: Uuid) -> Result<Option<Commit>> {
        match self.find_head(repo, commit).await? {
            Some(head) => self.read_head(&head).await.map(Some),
            None => Ok(None),
        }
    }
}

fn parse(key: &str, bytes: &[u8]) -> Result<Head> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::corrupt(key, "it is not text"))?;
    Head::parse(text).map_err(Error::decode(key))
}
