//! Which repos a store holds, and which commit each Commit's name stands for: small create-only objects.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use varve_format::{CommitName, Hash, RepoName, keys};

use crate::error::Result;
use crate::objects::Created;
use crate::store::{Store, from_json, to_json};

/// A repo as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoRecord {
    /// The store's own id of the repo: a repo made anew under an old name has another.
    pub uid: Uuid,
    /// Whether it is in use, or its data was given up.
    pub live: bool,
}

#[derive(Serialize, Deserialize)]
struct RepoFile {
    uid: Uuid,
    state: RepoState,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RepoState {
    Live,
    Deleted,
}

/// What a Commit's name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// Hash of the spec that was committed under the name.
    pub spec_hash: Option<Hash>,
    /// The commit.
    pub uid: Uuid,
}

impl Store {
    /// The repo of this name; none if the store never held one.
    pub async fn repo(&self, name: &RepoName) -> Result<Option<RepoRecord>> {
        Ok(self.repo_series(name).await?.1)
    }

    /// The live repo of this name, made if there is none.
    pub async fn create_repo(&self, name: &RepoName) -> Result<RepoRecord> {
        self.check_features(true).await?;
        loop {
            let (count, last) = self.repo_series(name).await?;
            if let Some(live) = last.filter(|repo| repo.live) {
                return Ok(live);
            }
            let uid = self.environment().new_id();
            let file = RepoFile { uid, state: RepoState::Live };
            if self.objects().create(&keys::repo(name, count), to_json(&file)).await? == Created::Ours {
                return Ok(RepoRecord { uid, live: true });
            }
        }
    }

    /// Gives a repo's data up: the name is free for a new repo, what was written stays until it is collected.
    pub async fn delete_repo(&self, name: &RepoName) -> Result<()> {
        loop {
            let (count, last) = self.repo_series(name).await?;
            let Some(live) = last.filter(|repo| repo.live) else { return Ok(()) };
            let file = RepoFile { uid: live.uid, state: RepoState::Deleted };
            if self.objects().create(&keys::repo(name, count), to_json(&file)).await? == Created::Ours {
                return Ok(());
            }
        }
    }

    async fn repo_series(&self, name: &RepoName) -> Result<(u64, Option<RepoRecord>)> {
        let series = self.objects().series(|n| keys::repo(name, n)).await?;
        let last = series.last().map(|bytes| from_json::<RepoFile>(bytes, &format!("the record of repo {name}")));
        let last = last.transpose()?.map(|file| RepoRecord { uid: file.uid, live: file.state == RepoState::Live });
        Ok((series.len() as u64, last))
    }

    /// What a Commit's name stands for; none if nothing was committed under it.
    pub async fn name_of(&self, repo: Uuid, name: &CommitName) -> Result<Option<NameRecord>> {
        let found = self.objects().find(&keys::name(repo, name)).await?;
        found.map(|bytes| from_json(&bytes, &format!("the record of commit name {name}"))).transpose()
    }

    /// Makes a name stand for a commit, whose session was flushed, unless it stands for one already. Returns what stands there afterwards.
    pub async fn claim_name(
        &self,
        repo: Uuid,
        name: &CommitName,
        spec_hash: Option<Hash>,
        commit: Uuid,
    ) -> Result<NameRecord> {
        let ours = NameRecord { spec_hash, uid: commit };
        match self.objects().create(&keys::name(repo, name), to_json(&ours)).await? {
            Created::Ours => Ok(ours),
            Created::Stands(bytes) => from_json(&bytes, &format!("the record of commit name {name}")),
        }
    }
}
