//! A cluster is deleted and made again from the same YAML over the same bucket: nothing is lost, committed twice or
//! computed twice. `cargo xtask e2e --full` runs the first life, takes the cluster away, and runs the second on a new one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job as BatchJob;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use varve_api::{Commit, Job, Pipeline, Repo, conditions};
use varve_e2e::outcome::{datums, tree};
use varve_e2e::wait::{Conditioned as _, PODS, SOON, shown, until};
use varve_e2e::{Space, busybox, env, object, store};

const NAMESPACE: &str = "two-lives";
const REPOS: [&str; 3] = ["images", "copies", "all"];

/// What the second life must find again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    store: String,
    /// Uid and heads of each Repo.
    repos: BTreeMap<String, Value>,
    /// Uid, number and tree of each Commit that somebody applied.
    commits: BTreeMap<String, Value>,
    /// How many datums have run since the beginning, by what they printed.
    ran: usize,
}

/// Where the first life leaves word for the second.
fn memory() -> Result<PathBuf> {
    Ok(env("VARVE_MEMORY")?.into())
}

/// What Git holds: a Repo, two Commits, and a chain of two Pipelines. Applied all at once, in no order.
fn manifests() -> Result<Vec<Value>> {
    let commit = |name: &str, parent: Option<&str>| {
        let put = json!({ "put": { "path": format!("/{name}"), "text": format!("{name}\n") } });
        let mut spec = json!({ "repo": "images", "changes": [put] });
        if let Some(parent) = parent {
            spec["parent"] = parent.into();
        }
        object("Commit", name, spec)
    };
    let pipeline = |name: &str, input: &str, glob: &str| -> Result<Value> {
        let code = format!("echo {name} runs; cp /pfs/{input}/* /pfs/out/");
        let container = json!({ "image": busybox("1")?, "command": ["sh", "-c", code] });
        let spec = json!({ "inputs": [{ "name": input, "glob": glob }], "container": container });
        Ok(object("Pipeline", name, spec))
    };
    Ok(vec![
        pipeline("all", "copies", "/")?,
        pipeline("copies", "images", "/*")?,
        commit("second", Some("first")),
        commit("first", None),
        object("Repo", "images", json!({})),
    ])
}

/// Waits until everything is settled on both Commits.
async fn settle(space: &Space) -> Result<()> {
    for name in ["first", "second"] {
        space.ready::<Commit>(name, PODS).await?;
    }
    let has_both = |repo: &Repo| {
        let branches = repo.status.as_ref().map(|status| status.branches.as_slice()).unwrap_or_default();
        branches.iter().any(|branch| branch.name == "main" && branch.files == 2)
    };
    for repo in REPOS {
        space.wait::<Repo>(repo, PODS, has_both).await?;
        space.ready::<Repo>(repo, SOON).await?;
    }
    for pipeline in ["copies", "all"] {
        let is_up_to_date = |pipeline: &Pipeline| shown(pipeline).contains("Ready=True UpToDate");
        space.wait::<Pipeline>(pipeline, PODS, is_up_to_date).await?;
    }
    until("all Jobs have ended", PODS, async || {
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        Ok(jobs.items.iter().all(|job| conditions::holds(job.conditions(), conditions::Type::Ready)))
    })
    .await
}

async fn remembered(space: &Space) -> Result<Remembered> {
    let mut seen = Remembered { store: String::new(), repos: BTreeMap::new(), commits: BTreeMap::new(), ran: 0 };
    for name in REPOS {
        let status = space.api::<Repo>().get(name).await?.status.unwrap_or_default();
        seen.store = status.store.context("the store's id")?;
        let branches = serde_json::to_value(&status.branches)?;
        seen.repos.insert(name.into(), json!({ "uid": status.uid, "branches": branches }));
    }
    for name in ["first", "second"] {
        let commit: Commit = space.api().get(name).await?;
        let status = commit.status.as_ref().context("a status")?;
        seen.commits.insert(name.into(), json!({ "uid": status.uid, "seq": status.seq, "tree": tree(&commit) }));
    }
    for job in space.api::<Job>().list(&ListParams::default()).await?.items {
        seen.ran += space.printed(&job).await?.iter().filter(|printed| printed.contains("runs")).count();
    }
    Ok(seen)
}

#[tokio::test]
async fn first_life() -> Result<()> {
    let space = Space::lasting(NAMESPACE).await?;
    space.with_store().await?;
    for manifest in manifests()? {
        space.apply(&manifest).await?;
    }
    settle(&space).await?;
    let seen = remembered(&space).await?;
    assert!(seen.ran >= 3, "two copies and at least one of all: {seen:?}");
    std::fs::write(memory()?, serde_json::to_vec_pretty(&seen)?)?;
    Ok(())
}

#[tokio::test]
async fn second_life() -> Result<()> {
    let before: Remembered =
        serde_json::from_slice(&std::fs::read(memory()?).context("read what the first life left")?)?;
    let space = Space::lasting(NAMESPACE).await?;
    let mut config = store::config(&store::url(NAMESPACE)?)?;
    space.store_secret(&config).await?;
    for manifest in manifests()? {
        space.apply(&manifest).await?;
    }
    let (reason, message) = space.stalled::<Repo>("images", SOON).await?;
    assert_eq!(reason, "StoreOwnedElsewhere", "{message}");
    assert!(message.contains(&before.store), "{message}");

    config.insert("adopt".into(), before.store.clone());
    space.store_secret(&config).await?;
    settle(&space).await?;
    let after = remembered(&space).await?;
    assert_eq!((&after.store, &after.repos, &after.commits), (&before.store, &before.repos, &before.commits));
    assert_eq!(after.ran, 0, "a Job of the second life ran something");
    let jobs = space.api::<Job>().list(&ListParams::default()).await?.items;
    assert!(jobs.iter().all(|job| datums(job).processed == 0), "{jobs:?}");
    let batch = space.api::<BatchJob>().list(&ListParams::default()).await?.items;
    assert_eq!(batch.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), Vec::<String>::new());
    // History is back: the Commits of the first life's Jobs, by their names.
    let commits = space.api::<Commit>().list(&ListParams::default().fields("spec.repo=copies")).await?.items;
    assert!(
        !commits.is_empty() && commits.iter().all(|commit| commit.name_any().starts_with("copies-")),
        "{commits:?}"
    );
    Ok(())
}
