//! Imports of what is not there, or not what it says.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use varve_api::{Commit, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, shown, until};
use varve_e2e::{Space, env, object, store};

use super::{put, repo, says};

/// A Commit to Repo r that puts what a URL holds.
fn fetch(name: &str, path: &str, url: &str) -> Value {
    object("Commit", name, json!({ "repo": "r", "changes": [{ "put": { "path": path, "url": url } }] }))
}

#[tokio::test]
async fn a_url_with_nothing_or_too_much_behind_it_fails_the_commit_and_is_named() -> Result<()> {
    let space = Space::new("import").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let there = host.serve("there.txt", "fetched");
    let missing = host.file("missing.txt");
    space.apply(&fetch("good", "/f", &there)).await?;
    space.apply(&fetch("bad", "/f", &missing)).await?;
    space.ready::<Commit>("good", PODS).await?;
    assert_eq!(space.files("r", "main").await?["/f"], "fetched");
    says(&space.stalled::<Commit>("bad", PODS).await?, "ImportFailed", &[&missing, "404"]);
    let huge = format!("{}/huge/file", host.url);
    space.apply(&fetch("huge", "/f", &huge)).await?;
    says(&space.stalled::<Commit>("huge", PODS).await?, "ImportFailed", &[&huge, "announced 999999999999 bytes"]);
    Ok(())
}

#[tokio::test]
async fn what_is_imported_from_a_bucket_needs_a_secret_that_allows_it() -> Result<()> {
    let space = Space::new("import-secret").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let url = format!("s3://{}/{}/v1/store.json", env("VARVE_S3_BUCKET")?, space.name);
    let put = json!({ "path": "/store.json", "objectStore": { "url": url, "secretName": "field" } });
    space.apply(&object("Commit", "c", json!({ "repo": "r", "changes": [{ "put": put }] }))).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "ImportSecretMissing", &["field"]);
    let mut config = store::config(&url)?;
    config.remove("url");
    space.secret("field", &[], &config).await?;
    // Secrets without the label are not watched: the Commit looks again by itself, at least every minute.
    let is = |commit: &Commit| shown(commit).contains("ImportSecretNotLabelled");
    space.wait("c", PODS, is).await?;
    space.secret("field", &[("varve.dev/import", "true")], &config).await?;
    space.ready::<Commit>("c", PODS).await?;
    assert!(space.files("r", "main").await?["/store.json"].contains('{'));
    Ok(())
}

#[tokio::test]
async fn a_url_that_sends_less_than_it_announces_is_no_file_until_it_sends_all() -> Result<()> {
    let space = Space::new("cut").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let url = host.serve_announced("cut", 100, "the first line\n");
    space.apply(&fetch("cut", "/cut", &url)).await?;
    let is_told = |commit: &Commit| shown(commit).contains("ImportFailed");
    let told = shown(&space.wait("cut", PODS, is_told).await?);
    for words in [format!("fetch {url}: the answer broke off"), "tried again".into()] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    let r: Repo = space.api().get("r").await?;
    assert_eq!(r.status.map(|status| status.branches.len()), Some(0), "something was committed");

    host.serve("cut", "the first line\nand the last\n");
    space.ready::<Commit>("cut", PODS).await?;
    assert_eq!(space.files("r", "main").await?["/cut"], "the first line\nand the last\n");
    Ok(())
}

/// As every client of HTTP does: what follows is no part of the answer.
#[tokio::test]
async fn of_a_url_that_sends_more_than_it_announces_the_announced_part_is_the_file() -> Result<()> {
    let space = Space::new("longer").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let url = host.serve_announced("longer", 10, "announced, and not announced");
    space.apply(&fetch("longer", "/longer", &url)).await?;
    space.ready::<Commit>("longer", PODS).await?;
    assert_eq!(space.files("r", "main").await?["/longer"], "announced,");
    Ok(())
}

#[tokio::test]
async fn a_url_without_end_holds_nobody_up_and_is_left_when_its_commit_is_deleted() -> Result<()> {
    let space = Space::new("endless").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let url = host.serve_endless("log");
    space.apply(&fetch("endless", "/log", &url)).await?;
    let is_told = |commit: &Commit| shown(commit).contains("Importing: a pod is fetching what the Commit puts");
    space.wait("endless", PODS, is_told).await?;
    space.change("r", "beside", &[put("/beside", "b")]).await?;

    space.api::<Commit>().delete("endless", &DeleteParams::default()).await?;
    until("nobody listens any more", PODS, async || Ok(host.counts().contains_key("left/log"))).await?;
    assert_eq!(space.files("r", "main").await?.into_keys().collect::<Vec<_>>(), ["/beside"]);
    Ok(())
}
