//! Reading results back: the newest files of Repos out of the bucket, by the heads in their status.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use varve_api::Repo;
use varve_api::repo::{DEFAULT_BRANCH, DEFAULT_STORE};
use varve_e2e::data::record_at;
use varve_store::backend::{self, Allowed};
use varve_store::{Entry, Store};

/// Writes the main branches and says how many files they have; gives back the count.
pub(crate) async fn checkout(namespace: &str, repos: &[String], folder: &Path) -> Result<u64> {
    let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
    let (backend, prefix) = backend::connect(&store_config(&client, namespace).await?, Allowed::default())?;
    let store = Store::open(backend, prefix).await?;
    std::fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
    let mut files = 0;
    for name in repos {
        let repo = Api::<Repo>::namespaced(client.clone(), namespace).get(name).await?;
        let branches = repo.status.unwrap_or_default().branches;
        let main = branches.into_iter().find(|branch| branch.name == DEFAULT_BRANCH);
        let main = main.with_context(|| format!("Repo {name} has no Commit yet"))?;
        let commit = store.read_commit_unchecked(&record_at(&main.head.record)?).await?;
        let folder = folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("clear folder {}", folder.display()))?;
        }
        files += commit.tree().files;
        store.checkout(&Entry::Directory(commit.tree()), &folder).await?;
    }
    println!("{files} files");
    Ok(files)
}

/// The keys of the namespace's store Secret.
async fn store_config(client: &Client, namespace: &str) -> Result<BTreeMap<String, String>> {
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get(DEFAULT_STORE).await?;
    let data = secret.data.context("the store's Secret is empty")?;
    data.into_iter()
        .map(|(key, value)| {
            let value = String::from_utf8(value.0).with_context(|| format!("read the Secret's key {key}"))?;
            Ok((key, value))
        })
        .collect()
}
