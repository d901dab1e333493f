//! What is wrong, is told: with the thing's name and the remedy, and it heals by itself where the cause goes.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::host::Host;
use varve_e2e::wait::{PODS, SOON, shown, until};
use varve_e2e::{Space, busybox, env, object, store};

fn repo(name: &str) -> Value {
    object("Repo", name, json!({}))
}

fn text(name: &str, repo: &str) -> Value {
    object("Commit", name, json!({ "repo": repo, "changes": [{ "put": { "path": "/a", "text": "a" } }] }))
}

fn pipeline(name: &str, inputs: Value) -> Result<Value> {
    let mut spec = json!({ "container": { "image": busybox("1")?, "command": ["true"] } });
    spec["inputs"] = inputs;
    Ok(object("Pipeline", name, spec))
}

/// Asserts that a stalled object gives this reason, and says all of these.
#[track_caller]
fn says((reason, message): &(String, String), wanted: &str, words: &[&str]) {
    assert_eq!(reason, wanted, "{message}");
    for word in words {
        assert!(message.contains(word), "{reason}: {message}\n  does not say {word}");
    }
}

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
async fn a_commit_to_a_repo_that_is_missing_waits_for_it() -> Result<()> {
    let space = Space::new("no-repo").await?;
    space.with_store().await?;
    space.apply(&text("c", "r")).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "RepoNotFound", &["Repo r", &space.name, "create it"]);
    space.apply(&repo("r")).await?;
    space.ready::<Commit>("c", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_commit_refers_to_is_named_when_it_is_missing() -> Result<()> {
    let space = Space::new("references").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("first", "r")).await?;
    space.ready::<Commit>("first", SOON).await?;
    let changes = |change: Value| json!({ "repo": "r", "changes": [change] });
    let uid = "0192f0c1-2345-7abc-8def-0123456789ab";
    let cases = [
        (
            "revert",
            json!({ "repo": "r", "revertTo": "nothing" }),
            "CommitNotFound",
            vec!["revertTo", "nothing", "Repo r"],
        ),
        ("revert-uid", json!({ "repo": "r", "revertTo": uid }), "CommitNotFound", vec!["revertTo", uid]),
        (
            "copy-repo",
            changes(json!({ "copy": { "path": "/b", "from": { "repo": "elsewhere", "path": "/a" } } })),
            "RepoNotFound",
            vec!["elsewhere"],
        ),
        (
            "copy-path",
            changes(json!({ "copy": { "path": "/b", "from": { "path": "/nothing" } } })),
            "PathNotFound",
            vec!["/nothing"],
        ),
        ("delete", changes(json!({ "delete": { "path": "/nothing" } })), "PathNotFound", vec!["/nothing"]),
        (
            "map",
            changes(json!({ "put": { "path": "/b", "configMap": { "name": "words", "key": "k" } } })),
            "ConfigMapNotFound",
            vec!["words"],
        ),
        ("below-a-file", changes(json!({ "put": { "path": "/a/b", "text": "t" } })), "", vec![]),
    ];
    for (name, spec, reason, words) in cases {
        space.apply(&object("Commit", name, spec)).await?;
        if reason.is_empty() {
            // `a` and `a/` never exist together: putting one replaces the other.
            space.ready::<Commit>(name, SOON).await?;
        } else {
            says(&space.stalled::<Commit>(name, SOON).await?, reason, &words);
        }
    }
    let map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words" }, "data": { "other": "o" } });
    space.apply(&map).await?;
    let is = |commit: &Commit| shown(commit).contains("ConfigMapKeyNotFound");
    space.wait("map", SOON, is).await?;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words" }, "data": { "k": "v" } });
    space.apply(&map).await?;
    space.ready::<Commit>("map", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_parent_that_is_not_at_the_head_is_refused() -> Result<()> {
    let space = Space::new("parent").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    for name in ["first", "second"] {
        space.apply(&text(name, "r")).await?;
        space.ready::<Commit>(name, SOON).await?;
    }
    let spec = json!({ "repo": "r", "parent": "first", "changes": [{ "put": { "path": "/b", "text": "b" } }] });
    space.apply(&object("Commit", "late", spec)).await?;
    says(&space.stalled::<Commit>("late", SOON).await?, "ParentNotHead", &["first"]);
    Ok(())
}

#[tokio::test]
async fn a_name_that_the_store_knows_with_another_spec_is_taken() -> Result<()> {
    let space = Space::new("name-taken").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("c", "r")).await?;
    let first = space.ready::<Commit>("c", SOON).await?;
    // Applied again, it adopts what it made: the same uid, no second commit.
    space.api::<Commit>().delete("c", &DeleteParams::default()).await?;
    space.apply(&text("c", "r")).await?;
    let again = space.ready::<Commit>("c", SOON).await?;
    let uid = |commit: &Commit| commit.status.as_ref().map(|s| (s.uid.clone(), s.seq));
    assert_eq!(uid(&again), uid(&first));
    space.api::<Commit>().delete("c", &DeleteParams::default()).await?;
    let other = json!({ "repo": "r", "changes": [{ "put": { "path": "/a", "text": "another" } }] });
    space.apply(&object("Commit", "c", other)).await?;
    says(&space.stalled::<Commit>("c", SOON).await?, "NameTaken", &["c", "another name"]);
    Ok(())
}

#[tokio::test]
async fn a_url_with_nothing_or_too_much_behind_it_fails_the_commit_and_is_named() -> Result<()> {
    let space = Space::new("import").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let there = host.serve("there.txt", "fetched");
    let missing = host.file("missing.txt");
    let put = |name: &str, url: &str| {
        object("Commit", name, json!({ "repo": "r", "changes": [{ "put": { "path": "/f", "url": url } }] }))
    };
    space.apply(&put("good", &there)).await?;
    space.apply(&put("bad", &missing)).await?;
    space.ready::<Commit>("good", PODS).await?;
    assert_eq!(space.files("r", "main").await?["/f"], "fetched");
    says(&space.stalled::<Commit>("bad", PODS).await?, "ImportFailed", &[&missing, "404"]);
    let huge = format!("{}/huge/file", host.url);
    space.apply(&put("huge", &huge)).await?;
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
async fn inputs_that_cannot_be_are_named() -> Result<()> {
    let space = Space::new("inputs").await?;
    space.with_store().await?;
    for name in ["r", "own"] {
        space.apply(&repo(name)).await?;
        space.ready::<Repo>(name, SOON).await?;
    }
    let cases = [
        (
            "missing",
            json!([{ "name": "a", "repo": "nowhere", "glob": "/" }]),
            "RepoNotFound",
            vec!["nowhere", "create it"],
        ),
        ("own", json!([{ "name": "own", "glob": "/" }]), "InputIsOutput", vec!["own"]),
        (
            "cycle",
            json!([{ "name": "a", "cross": ["b"] }, { "name": "b", "union": ["a"] }, { "name": "r", "glob": "/" }]),
            "InputCycle",
            vec!["a", "b"],
        ),
        (
            "mounts",
            json!([{ "name": "a", "repo": "r", "as": "x", "glob": "/" }, { "name": "b", "repo": "r", "as": "x", "glob": "/" }]),
            "MountTaken",
            vec!["x"],
        ),
        ("glob", json!([{ "name": "r", "glob": "/[" }]), "GlobInvalid", vec!["/["]),
    ];
    for (name, inputs, reason, words) in cases {
        space.apply(&pipeline(name, inputs)?).await?;
        says(&space.stalled::<Pipeline>(name, SOON).await?, reason, &words);
    }
    space.apply(&repo("nowhere")).await?;
    space.ready::<Pipeline>("missing", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn an_output_branch_has_one_writer() -> Result<()> {
    let space = Space::new("writers").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let to = |name: &str| -> Result<Value> {
        let mut object = pipeline(name, json!([{ "name": "r", "glob": "/" }]))?;
        object["spec"]["output"] = json!({ "repo": "results" });
        Ok(object)
    };
    space.apply(&to("older")?).await?;
    let older = space.ready::<Pipeline>("older", SOON).await?;
    // Ages are told in whole seconds; of two Pipelines of one second the uid decides, which nobody can foresee.
    let made = older.metadata.creation_timestamp.context("when it was made")?.0.as_second();
    until("the next second", SOON, async || Ok(jiff::Timestamp::now().as_second() > made)).await?;
    space.apply(&to("younger")?).await?;
    says(&space.stalled::<Pipeline>("younger", SOON).await?, "OutputTaken", &["older", "results"]);
    space.apply(&text("by-hand", "results")).await?;
    says(&space.stalled::<Commit>("by-hand", SOON).await?, "OutputBranch", &["older", "results"]);
    Ok(())
}

#[tokio::test]
async fn of_pipelines_that_feed_each_other_the_younger_is_held_back() -> Result<()> {
    let space = Space::new("circle").await?;
    space.with_store().await?;
    for (name, reads) in [("a", "b"), ("b", "a")] {
        space.apply(&repo(name)).await?;
        space.apply(&pipeline(name, json!([{ "name": reads, "glob": "/" }]))?).await?;
    }
    let mut both = space.api::<Pipeline>().list(&ListParams::default()).await?.items;
    both.sort_by_key(|pipeline| (pipeline.creation_timestamp().map(|time| time.0), pipeline.uid()));
    let younger = both.last().context("two Pipelines")?.name_any();
    says(&space.stalled::<Pipeline>(&younger, SOON).await?, "InputCycle", &["a → ", "b → ", &younger]);
    space.ready::<Pipeline>(&both[0].name_any(), SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_pinned_output_branch_holds_its_pipeline_until_it_is_let_go() -> Result<()> {
    let space = Space::new("pinned").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&object("Repo", "out", json!({ "branches": [{ "name": "main", "head": "main" }] }))).await?;
    let mut writer = pipeline("writer", json!([{ "name": "r", "glob": "/" }]))?;
    writer["spec"]["output"] = json!({ "repo": "out" });
    space.apply(&writer).await?;
    let input =
        space.commit("one", json!({ "repo": "r", "changes": [{ "put": { "path": "/a", "text": "a" } }] })).await?;
    says(&space.stalled::<Pipeline>("writer", SOON).await?, "BranchPinned", &["out", "main"]);
    assert!(space.api::<Job>().list(&ListParams::default()).await?.items.is_empty(), "a Job was made in vain");
    space.apply(&repo("out")).await?;
    space.outcome("writer", &input).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_or_an_image_that_is_missing_is_named() -> Result<()> {
    let space = Space::new("missing").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    let mut secret = pipeline("secret", json!([{ "name": "r", "glob": "/" }]))?;
    secret["spec"]["container"]["env"] =
        json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "nobody", "key": "k" } } }]);
    space.apply(&secret).await?;
    says(&space.stalled::<Pipeline>("secret", SOON).await?, "SecretNotFound", &["nobody", "create it"]);

    let mut store = pipeline("store", json!([{ "name": "r", "glob": "/" }]))?;
    store["spec"]["container"]["envFrom"] = json!([{ "secretRef": { "name": "varve-store" } }]);
    space.apply(&store).await?;
    says(&space.stalled::<Pipeline>("store", SOON).await?, "SecretForbidden", &["varve-store"]);

    let mut image = pipeline("image", json!([{ "name": "r", "glob": "/" }]))?;
    let reference = format!("{}/no/such:image", env("VARVE_REGISTRY")?);
    image["spec"]["container"]["image"] = reference.clone().into();
    space.apply(&image).await?;
    says(&space.stalled::<Pipeline>("image", SOON).await?, "ImageNotFound", &[&reference]);
    Ok(())
}

#[tokio::test]
async fn a_failed_datum_is_shown_with_the_last_lines_it_printed() -> Result<()> {
    let space = Space::new("failure").await?;
    space.with_store().await?;
    space.apply(&repo("r")).await?;
    space.apply(&text("c", "r")).await?;
    let mut failing = pipeline("failing", json!([{ "name": "r", "glob": "/*" }]))?;
    failing["spec"]["container"]["command"] =
        json!(["sh", "-c", "echo reading $r; echo the lens cap was on >&2; exit 7"]);
    failing["spec"]["datum"] = json!({ "tries": 2 });
    space.apply(&failing).await?;
    says(&space.stalled::<Pipeline>("failing", PODS).await?, "JobFailed", &["Job failing-"]);
    let jobs = space.api::<Job>().list(&kube::api::ListParams::default()).await?;
    let job = jobs.items.first().context("a Job")?;
    let status = job.status.as_ref().context("its status")?;
    assert_eq!(status.first_failures.len(), 1, "{status:?}");
    let failure = &status.first_failures[0];
    assert_eq!((failure.exit_code, failure.tries), (Some(7), 2), "{failure:?}");
    assert!(failure.datum.contains("/a"), "{failure:?}");
    assert!(failure.last_lines.as_deref().is_some_and(|lines| lines.contains("the lens cap was on")), "{failure:?}");
    assert_eq!(status.output_commit, None);
    Ok(())
}
