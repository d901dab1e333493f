//! Reading results back: the newest files of Repos out of the bucket, by the heads in their status.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use varve_api::Repo;
use varve_api::repo::{DEFAULT_BRANCH, DEFAULT_STORE};
use varve_store::backend::{self, Schemes};
use varve_store::{Entry, RecordAt, Store};

use crate::bucket;
use crate::cluster::Access;

/// Writes the main branch of some Repos below a folder, one folder a Repo; gives back how many files.
pub(crate) fn write(access: &Access, namespace: &str, repos: &[&str], folder: &Path) -> Result<u64> {
    let config = store_config(access, namespace)?;
    fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
    bucket::runtime()?.block_on(async {
        let (backend, prefix) = backend::connect(&config, Schemes::Buckets)?;
        let store = Store::open(backend, prefix).await?;
        let mut files = 0;
        for repo in repos {
            let commit = store.read_commit(&newest(access, namespace, repo)?).await?;
            let folder = folder.join(repo);
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("clear folder {}", folder.display()))?;
            }
            files += commit.tree().files;
            store.checkout(&Entry::Directory(commit.tree()), &folder).await?;
        }
        Ok(files)
    })
}

/// The keys of the namespace's store Secret.
fn store_config(access: &Access, namespace: &str) -> Result<BTreeMap<String, String>> {
    let secret = access.get_json(&["-n", namespace, "secret", DEFAULT_STORE])?;
    let data = secret["data"].as_object().context("the store's Secret is empty")?;
    let text = |value: &serde_json::Value| {
        let bytes = data_encoding::BASE64.decode(value.as_str().unwrap_or_default().as_bytes())?;
        Ok::<_, anyhow::Error>(String::from_utf8(bytes)?)
    };
    data.iter()
        .map(|(key, value)| Ok((key.clone(), text(value).with_context(|| format!("read the Secret's key {key}"))?)))
        .collect()
}

/// Where the record of a Repo's newest Commit lies.
fn newest(access: &Access, namespace: &str, repo: &str) -> Result<RecordAt> {
    let repo: Repo =
        serde_json::from_value(access.get_json(&["-n", namespace, "vrepo", repo])?).context("read a Repo")?;
    let branches = repo.status.unwrap_or_default().branches;
    let branch = branches.into_iter().find(|branch| branch.name == DEFAULT_BRANCH);
    let record = branch.context("the Repo has no Commit yet")?.head.record;
    Ok(RecordAt {
        pack: record.pack.parse().context("read a pack's id")?,
        offset: record.offset,
        length: record.length,
    })
}
