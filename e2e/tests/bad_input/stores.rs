//! Stores that can't be used, and Secrets that say so.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use varve_api::{Commit, Job, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, shown, until};
use varve_e2e::{Space, store};

use super::{repo, says, text, waiting};

#[tokio::test]
async fn a_store_whose_secret_is_missing_is_named_and_heals() -> Result<()> {
    let space = Space::new("no-secret").await?;
    space.apply(&repo("r")).await?;
    says(
        &space.stalled::<Repo>("r", SOON).await?,
        "StoreSecretMissing",
        &["varve-store", &space.name, "create it", "varve.dev/store"],
    );
    space.apply(&text("c", "r")).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "RepoNotReady", &["Repo r", "StoreSecretMissing"]);
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    space.ready::<Commit>("c", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_without_the_label_is_never_read() -> Result<()> {
    let space = Space::new("no-label").await?;
    space.secret("varve-store", &[], &store::config(&store::url(&space.name)?)?).await?;
    space.apply(&repo("r")).await?;
    says(&space.stalled::<Repo>("r", SOON).await?, "StoreSecretNotLabelled", &["varve-store", "label secret"]);
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_told_in_the_stores_own_words_and_heal() -> Result<()> {
    let space = Space::new("credentials").await?;
    let mut config = store::config(&store::url(&space.name)?)?;
    config.insert("aws_secret_access_key".into(), "wrong".into());
    space.store_secret(&config).await?;
    space.apply(&repo("r")).await?;
    says(&space.stalled::<Repo>("r", SOON).await?, "StoreUnauthorized", &["varve-store", "correct the credentials"]);
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_named() -> Result<()> {
    let space = Space::new("bucket").await?;
    space.store_secret(&store::config("s3://no-such-bucket-here/x")?).await?;
    space.apply(&repo("r")).await?;
    says(&space.stalled::<Repo>("r", SOON).await?, "StoreBucketMissing", &["no-such-bucket-here", "create the bucket"]);
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_tried_again() -> Result<()> {
    let space = Space::new("unreachable").await?;
    let mut config = store::config(&store::url(&space.name)?)?;
    config.insert("aws_endpoint".into(), "http://127.0.0.1:9".into());
    space.store_secret(&config).await?;
    space.apply(&repo("r")).await?;
    let is = |repo: &Repo| shown(repo).contains("StoreUnreachable");
    space.wait("r", SOON, is).await?;
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_store_that_throttles_is_full_or_tells_another_time_is_told_apart_and_heals() -> Result<()> {
    let space = Space::new("refusing").await?;
    let host = Host::new().await?;
    space.apply(&repo("r")).await?;
    for (answer, reason, words) in [
        ("503/SlowDown", "StoreThrottled", "SlowDown: refused: it is tried again by itself"),
        ("507/XMinioStorageFull", "StoreFull", "the store is full: 507 Insufficient Storage: XMinioStorageFull"),
        ("403/QuotaExceeded", "StoreFull", "make room there"),
        ("403/RequestTimeTooSkewed", "StoreClockSkewed", "set the clocks right"),
    ] {
        let mut config = store::config(&store::url(&space.name)?)?;
        config.insert("aws_endpoint".into(), format!("{}/refuse/{answer}", host.url));
        space.store_secret(&config).await?;
        let is = |repo: &Repo| shown(repo).contains(reason);
        let seen = shown(&space.wait("r", SOON, is).await?);
        assert!(seen.contains(words) && seen.contains("varve-store"), "{answer}: {seen}");
    }
    space.with_store().await?;
    space.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_named() -> Result<()> {
    let space = Space::new("url").await?;
    for url in ["ftp://bucket/x", "file:///etc", "no url"] {
        space.store_secret(&store::config(url)?).await?;
        let _ = space.api::<Repo>().delete("r", &DeleteParams::default()).await;
        space.apply(&repo("r")).await?;
        let is = |repo: &Repo| shown(repo).contains("StoreConfigInvalid");
        let seen = space.wait("r", SOON, is).await?;
        assert!(shown(&seen).contains("url"), "{url}: {}", shown(&seen));
    }
    Ok(())
}

#[tokio::test]
async fn a_store_of_another_owner_is_refused_until_it_is_adopted() -> Result<()> {
    let first = Space::new("owner").await?;
    first.with_store().await?;
    first.apply(&repo("r")).await?;
    let id = first.ready::<Repo>("r", SOON).await?.status.and_then(|s| s.store).context("the store's id")?;

    let second = Space::new("thief").await?;
    let mut config = store::config(&store::url(&first.name)?)?;
    second.store_secret(&config).await?;
    second.apply(&repo("r")).await?;
    says(&second.stalled::<Repo>("r", SOON).await?, "StoreOwnedElsewhere", &[&id, "adopt"]);
    config.insert("adopt".into(), "0192f0c1-2345-7abc-8def-0123456789ab".into());
    second.store_secret(&config).await?;
    let is = |repo: &Repo| shown(repo).contains("StoreOwnedElsewhere");
    second.wait("r", SOON, is).await?;
    config.insert("adopt".into(), id.clone());
    second.store_secret(&config).await?;
    second.ready::<Repo>("r", SOON).await?;

    // The same word in the first owner's Secret takes nothing back; the one that it is told does.
    let mut config = store::config(&store::url(&first.name)?)?;
    config.insert("adopt".into(), id.clone());
    first.store_secret(&config).await?;
    let told = first.stalled::<Repo>("r", SOON).await?;
    says(&told, "StoreOwnedElsewhere", &[&format!("{id}/1")]);
    config.insert("adopt".into(), format!("{id}/1"));
    first.store_secret(&config).await?;
    first.ready::<Repo>("r", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn credentials_that_turn_wrong_under_running_code_are_told_and_its_job_ends_once_they_are_right() -> Result<()> {
    let space = Space::new("renewed").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&waiting("copy", &host)?).await?;
    space.apply(&text("one", "r")).await?;
    let counted = |what: &str| host.counts().contains_key(what);
    until("the code runs", PODS, async || Ok(counted("start"))).await?;
    let jobs = space.api::<Job>().list(&ListParams::default()).await?;
    let job = jobs.items.first().context("a Job")?.name_any();

    let mut config = store::config(&store::url(&space.name)?)?;
    config.insert("aws_secret_access_key".into(), "wrong".into());
    space.store_secret(&config).await?;
    let told = space.stalled::<Job>(&job, SOON).await?;
    says(&told, "StoreUnauthorized", &["store of Secret varve-store", "correct the credentials"]);
    // The code ends while nobody can ask the store how.
    host.serve("go", "go");
    until("the code has ended", SOON, async || Ok(counted("end"))).await?;

    // Its pod may hold the wrong ones for a minute or two more: nodes take that long to show a changed Secret.
    space.with_store().await?;
    space.ready::<Job>(&job, PODS * 2).await?;
    space.ready::<Commit>(&job, SOON).await?;
    assert_eq!(space.files_of(&job).await?["/a"], "a");
    assert_eq!(host.counts()["start"], 1, "what had ended was run again");
    Ok(())
}
