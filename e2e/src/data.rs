//! What lies in a Repo, read straight from the bucket by its record, as any client would.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use varve_api::meta::FrameRef;
use varve_api::{Commit, Job, Repo};
use varve_format::RecordAt;
use varve_store::backend::{self, Allowed};
use varve_store::{ContentRef, Entry, Store};

use crate::{Space, store};

/// The most bytes of one file that a test reads.
const MAX_FILE: u64 = 64 << 20;

/// Files by their path, with a leading slash.
pub type Files = BTreeMap<String, String>;

impl Space {
    /// The store of this namespace.
    pub async fn store(&self) -> Result<Store> {
        let (objects, prefix) = backend::connect(&store::config(&store::url(&self.name)?)?, Allowed::default())?;
        Store::open(objects, prefix).await.context("open the namespace's store")
    }

    /// The files at the head of a branch, as text.
    pub async fn files(&self, repo: &str, branch: &str) -> Result<Files> {
        let found: Repo = self.api().get(repo).await.with_context(|| format!("get Repo {repo}"))?;
        let heads = found.status.unwrap_or_default().branches;
        let head = heads.into_iter().find(|head| head.name == branch);
        let head = head.with_context(|| format!("branch {branch} of Repo {repo}"))?;
        self.files_at(&head.head.record).await
    }

    /// The files of a Commit, as text.
    pub async fn files_of(&self, commit: &str) -> Result<Files> {
        let found: Commit = self.api().get(commit).await.with_context(|| format!("get Commit {commit}"))?;
        let record = found.status.and_then(|status| status.record).context("the Commit's record")?;
        self.files_at(&record).await
    }

    /// Writes the files of a Commit below a folder.
    pub async fn checkout(&self, commit: &Commit, folder: &Path) -> Result<()> {
        let record = commit.status.as_ref().and_then(|status| status.record.as_ref()).context("the Commit's record")?;
        let store = self.store().await?;
        let commit = store.read_commit_unchecked(&record_at(record)?).await?;
        store.checkout(&Entry::Directory(commit.tree()), folder).await.context("check the files out")
    }

    /// What the code of a Job's datums printed, one text for each time that it ran.
    pub async fn printed(&self, job: &Job) -> Result<Vec<String>> {
        let uid = job.metadata.uid.as_deref().context("the Job's uid")?.parse()?;
        let store = self.store().await?;
        let keys = store.list_results(uid).await?;
        let results: Vec<_> = store.read_results(uid, keys).try_collect().await?;
        let mut printed = Vec::new();
        for datum in results.iter().flat_map(|(_, results)| &results.datums) {
            let log = ContentRef::try_from(datum.log.as_ref().context("a datum's log")?)?;
            printed.push(String::from_utf8_lossy(&store.read_all(&log, MAX_FILE).await?).into_owned());
        }
        Ok(printed)
    }

    async fn files_at(&self, record: &FrameRef) -> Result<Files> {
        let store = self.store().await?;
        let commit = store.read_commit_unchecked(&record_at(record)?).await?;
        let mut files = Files::new();
        let mut entries = store.walk(&commit.tree());
        while let Some((path, entry)) = entries.try_next().await? {
            let content = match &entry {
                Entry::File { content, .. } => content,
                Entry::Symlink { target } => target,
                Entry::Directory(_) => continue,
            };
            let bytes = store.read_all(content, MAX_FILE).await?;
            files.insert(path.to_string(), String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(files)
    }
}

/// Where a Commit's record lies.
pub fn record_at(record: &FrameRef) -> Result<RecordAt> {
    Ok(RecordAt { pack: record.pack.parse()?, offset: record.offset, length: record.length })
}
