//! The reflog: what the heads of branches were, one object per move, chained by hash; and the pointers from a
//! commit's uid to its record.
//!
//! An entry is a pure function of the head in status, so writing it twice writes the same bytes under the same key.

use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;
use varve_format::{BranchName, Head, RecordAt, keys};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::store::Store;

/// Reflog entries read at once.
const READS_IN_FLIGHT: usize = 16;

/// Entries that the tail of a reflog has: only keys of older ones are seen.
const TAIL_ENTRIES: usize = 1_000;

impl Store {
    /// Writes the entry of a head.
    pub async fn put_reflog(&self, head: &Head) -> Result<()> {
        self.objects().put(&keys::reflog(head), head.to_text()).await
    }

    /// The last 1,000 entries of a branch, by ascending sequence. Two entries of one sequence are two writers' (only one of them
    /// is on the chain).
    pub async fn reflog_tail(&self, repo: Uuid, branch: &BranchName) -> Result<Vec<Head>> {
        self.read_reflog(repo, branch, None).await
    }

    /// The entries of a branch with a sequence greater than `seq`, by ascending sequence.
    pub async fn reflog_after(&self, repo: Uuid, branch: &BranchName, seq: u64) -> Result<Vec<Head>> {
        self.read_reflog(repo, branch, Some(seq.saturating_add(1))).await
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

    async fn read_reflog(&self, repo: Uuid, branch: &BranchName, from: Option<u64>) -> Result<Vec<Head>> {
        // Keys begin with the sequence in 20 digits: an entry of `from` sorts after its bare digits.
        let after = from.map(|seq| keys::reflog_from(repo, branch, seq));
        let listed = self.objects().list(&keys::reflog_prefix(repo, branch), after.as_deref())?;
        let mut keys: Vec<String> = listed.try_collect().await?;
        keys.sort_unstable();
        let older = keys.len().saturating_sub(if from.is_none() { TAIL_ENTRIES } else { keys.len() });
        let entries = futures::stream::iter(keys.drain(older..)).map(|key| async move {
            let bytes = self.objects().get(&key).await?;
            let text = std::str::from_utf8(&bytes).map_err(|_| Error::corrupt(&key, "it is not text"))?;
            Head::parse(text).map_err(Error::decode(key))
        });
        entries.buffered(READS_IN_FLIGHT).try_collect().await
    }

    /// Writes the pointer from a commit's uid to its record; after the head has moved.
    pub async fn record_commit(&self, head: &Head) -> Result<()> {
        self.objects().put(&keys::commit(head.repo, head.commit), head.to_text()).await
    }

    /// Where a commit's record lies; none if no head ever moved to it.
    pub async fn find_record(&self, repo: Uuid, commit: Uuid) -> Result<Option<RecordAt>> {
        Ok(self.find_head(repo, commit).await?.map(|head| head.record))
    }

    /// The head that a commit was when its branch moved to it; none if no head ever did.
    pub async fn find_head(&self, repo: Uuid, commit: Uuid) -> Result<Option<Head>> {
        let key = keys::commit(repo, commit);
        let Some(bytes) = self.objects().find(&key).await? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::corrupt(&key, "it is not text"))?;
        Head::parse(text).map(Some).map_err(Error::decode(key))
    }

    /// A commit by its uid; none if no head ever moved to it.
    pub async fn find_commit(&self, repo: Uuid, commit: Uuid) -> Result<Option<Commit>> {
        match self.find_record(repo, commit).await? {
            Some(record) => self.read_commit(&record).await.map(Some),
            None => Ok(None),
        }
    }
}
