//! The main job: commit files, find results, and compute nothing twice. Counted by what the code itself does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use varve_api::conditions::{self, Type};
use varve_api::{Commit, Job, Pipeline, labels};
use varve_e2e::host::Host;
use varve_e2e::outcome::{counts, datums, tree};
use varve_e2e::wait::{PODS, SOON, shown, until};
use varve_e2e::{Space, busybox, crane, env, object, reader, tag_on_nodes};

fn put(path: &str, text: &str) -> Value {
    json!({ "put": { "path": path, "text": text } })
}

fn delete(path: &str) -> Value {
    json!({ "delete": { "path": path } })
}

/// A Pipeline that reads each file of `from` by itself: counts it on the host, and writes it under its own name.
fn copier(name: &str, from: &str, image: &str, host: &Host) -> Value {
    let code = format!(
        "for f in /pfs/{from}/*; do fetch {}/count/{name}/${{f##*/}} || exit 1; {{ echo {name} of; cat $f; }} >/pfs/out/${{f##*/}}; done",
        host.url
    );
    object(
        "Pipeline",
        name,
        json!({
            "inputs": [{ "name": from, "glob": "/*" }],
            "container": { "image": image, "command": ["sh", "-c", code] },
        }),
    )
}

fn counted(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(what, times)| ((*what).to_owned(), *times)).collect()
}

#[tokio::test]
async fn only_what_changed_is_computed_and_the_result_is_that_of_a_run_from_scratch() -> Result<()> {
    let space = Space::new("incremental").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.apply(&copier("edges", "images", &busybox("1")?, &host)).await?;

    let first = space.change("images", "first", &[put("/a", "a\n"), put("/b", "b\n"), put("/c", "c\n")]).await?;
    let (job, first_output) = space.outcome("edges", &first).await?;
    assert_eq!(datums(&job), counts(3, 0, 3));
    assert_eq!(host.counts(), counted(&[("edges/a", 1), ("edges/b", 1), ("edges/c", 1)]));

    host.forget();
    let second = space.change("images", "one-more", &[put("/d", "d\n")]).await?;
    let (job, output) = space.outcome("edges", &second).await?;
    assert_eq!(datums(&job), counts(4, 3, 1));
    assert_eq!(host.counts(), counted(&[("edges/d", 1)]));
    let status = output.status.context("a status")?;
    assert_eq!((status.added, status.changed, status.removed, status.files), (Some(1), Some(0), Some(0), Some(4)));

    host.forget();
    let third = space.change("images", "one-other-one-less", &[put("/b", "B\n"), delete("/c")]).await?;
    let (job, third_output) = space.outcome("edges", &third).await?;
    assert_eq!(datums(&job), counts(3, 2, 1));
    assert_eq!(host.counts(), counted(&[("edges/b", 1)]));
    let files = space.files("edges", "main").await?;
    let wanted = [("/a", "edges of\na\n"), ("/b", "edges of\nB\n"), ("/d", "edges of\nd\n")];
    assert_eq!(files, wanted.iter().map(|(p, t)| ((*p).into(), (*t).into())).collect());
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    space.checkout(&third_output, &files).await?;
    assert_eq!(tree(&third_output), Some(reader::tree_id(&files)?));

    host.forget();
    let back = space.commit("back", json!({ "repo": "images", "revertTo": "first" })).await?;
    let (job, output) = space.outcome("edges", &back).await?;
    assert_eq!(datums(&job), counts(3, 3, 0));
    assert_eq!(host.counts(), counted(&[]));
    assert_eq!(tree(&output), tree(&first_output));
    let batch = space.kubectl(&["get", "jobs.batch", "-o", "name"])?;
    let name = job.metadata.name.unwrap_or_default();
    assert!(!batch.contains(&name), "nothing to do, no pod: {batch}");

    // From scratch, elsewhere, with what the third commit had.
    let other = Space::new("scratch").await?;
    other.with_store().await?;
    other.apply(&object("Repo", "images", json!({}))).await?;
    other.apply(&copier("edges", "images", &busybox("1")?, &host)).await?;
    let all = other.change("images", "all", &[put("/d", "d\n"), put("/b", "B\n"), put("/a", "a\n")]).await?;
    let (_, output) = other.outcome("edges", &all).await?;
    assert_eq!(tree(&output), tree(&third_output));
    Ok(())
}

#[tokio::test]
async fn an_image_is_known_by_its_content_and_not_by_its_tag() -> Result<()> {
    let space = Space::new("image").await?;
    let host = Host::new().await?;
    let repository = format!("{}/{}", env("VARVE_REGISTRY")?, space.name);
    let tag = |from: &str, to: &str| crane(&["copy", "--insecure", from, to]);
    tag(&busybox("1")?, &format!("{repository}:one"))?;
    tag(&busybox("1")?, &format!("{repository}:same"))?;

    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.apply(&copier("edges", "images", &format!("{repository}:one"), &host)).await?;
    let first = space.change("images", "first", &[put("/a", "a\n"), put("/b", "b\n")]).await?;
    space.outcome("edges", &first).await?;
    host.forget();

    // The same content under another tag runs nothing.
    space.apply(&copier("edges", "images", &format!("{repository}:same"), &host)).await?;
    let second = space.change("images", "second", &[put("/c", "c\n")]).await?;
    let (job, _) = space.outcome("edges", &second).await?;
    assert_eq!(datums(&job), counts(3, 2, 1));
    assert_eq!(host.counts(), counted(&[("edges/c", 1)]));
    host.forget();

    // Other content under the same tag is not taken up by itself …
    tag(&busybox("2")?, &format!("{repository}:same"))?;
    let third = space.change("images", "third", &[put("/d", "d\n")]).await?;
    let (job, _) = space.outcome("edges", &third).await?;
    assert_eq!(datums(&job), counts(4, 3, 1));
    host.forget();

    // … but when that is asked for, and then everything runs.
    space.kubectl(&["annotate", "vpipe/edges", "varve.dev/resolve-image=now"])?;
    until("everything has run", PODS, async || Ok(host.counts().len() == 4)).await.with_context(|| space.describe())?;
    assert_eq!(host.counts(), counted(&[("edges/a", 1), ("edges/b", 1), ("edges/c", 1), ("edges/d", 1)]));
    Ok(())
}

#[tokio::test]
async fn an_image_that_no_registry_knows_is_asked_of_a_node_and_keeps_what_it_is_known_by() -> Result<()> {
    let space = Space::new("local").await?;
    let host = Host::new().await?;
    let local = format!("e2e.local/{}:1", space.name);
    tag_on_nodes("e2e.local/busybox:1", &local)?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.apply(&copier("edges", "images", &local, &host)).await?;
    let first = space.change("images", "first", &[put("/a", "a\n"), put("/b", "b\n")]).await?;
    let (job, _) = space.outcome("edges", &first).await?;
    assert_eq!(datums(&job), counts(2, 0, 2));
    let pinned = |is_pinned: bool| {
        move |pipeline: &Pipeline| {
            pipeline.status.as_ref().is_some_and(|status| {
                status.image.as_ref().is_some_and(|image| image.reference == pipeline.spec.container.image)
                    && conditions::holds(&status.conditions, Type::ImagePinned) == is_pinned
            })
        }
    };
    space.wait("edges", SOON, pinned(false)).await?;

    // The same image at a registry runs nothing, and neither does the way back.
    space.apply(&copier("edges", "images", &busybox("1")?, &host)).await?;
    space.wait("edges", SOON, pinned(true)).await?;
    space.apply(&copier("edges", "images", &local, &host)).await?;
    space.wait("edges", SOON, pinned(false)).await?;
    host.forget();
    let second = space.change("images", "second", &[put("/c", "c\n")]).await?;
    let (job, _) = space.outcome("edges", &second).await?;
    assert_eq!(datums(&job), counts(3, 2, 1));
    assert_eq!(host.counts(), counted(&[("edges/c", 1)]));
    let pods = space.kubectl(&["get", "pods", "-l", labels::PROBE, "-o", "name"])?;
    assert_eq!(pods, "", "what asked is gone");

    // Where the nodes have another image under the name, nothing that comes of it counts.
    tag_on_nodes("e2e.local/coredns:1", &local)?;
    space.change("images", "third", &[put("/d", "d\n")]).await?;
    until("the Job is refused", PODS, async || {
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        Ok(jobs.iter().any(|job| shown(job).contains("ImageMismatch")))
    })
    .await
    .with_context(|| space.describe())?;
    Ok(())
}

#[tokio::test]
async fn in_a_diamond_both_sides_come_from_the_same_source_commit() -> Result<()> {
    let space = Space::new("diamond").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    let image = busybox("1")?;
    space.apply(&copier("left", "images", &image, &host)).await?;
    let mut right = copier("right", "images", &image, &host);
    let slow = right["spec"]["container"]["command"][2].as_str().map(|code| format!("sleep 2; {code}"));
    right["spec"]["container"]["command"][2] = slow.into();
    space.apply(&right).await?;
    let code = "cat /pfs/left/n >/pfs/out/left; cat /pfs/right/n >/pfs/out/right";
    space
        .apply(&object(
            "Pipeline",
            "both",
            json!({
                "inputs": [{ "name": "left", "glob": "/" }, { "name": "right", "glob": "/" }],
                "container": { "image": image, "command": ["sh", "-c", code] },
            }),
        ))
        .await?;
    let mut last = None;
    for n in 1..=3 {
        last = Some(space.change("images", &format!("c{n}"), &[put("/n", &format!("{n}\n"))]).await?);
    }
    let run = last.and_then(|commit| commit.status?.uid).context("the last Commit's uid")?;
    let at_last = |commit: &Commit| commit.status.as_ref().and_then(|s| s.run.as_ref()) == Some(&run);
    until("the join has caught up", PODS, async || {
        let commits = space.api::<Commit>().list(&kube::api::ListParams::default().fields("spec.repo=both")).await?;
        for commit in commits.items.iter().filter(|commit| commit.status.as_ref().is_some_and(|s| s.record.is_some())) {
            let files = space.files_of(&commit.name_any()).await?;
            let of = |side: &str| files[&format!("/{side}")].replace(&format!("{side} of\n"), "");
            assert_eq!(of("left"), of("right"), "one Commit of the join mixes two source Commits");
        }
        Ok(commits.items.iter().any(at_last))
    })
    .await
    .with_context(|| space.describe())
}

#[tokio::test]
async fn two_datums_that_write_one_path_fail_the_job_and_are_both_named() -> Result<()> {
    let space = Space::new("conflict").await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.change("images", "first", &[put("/a", "a\n"), put("/b", "b\n")]).await?;
    space
        .apply(&object(
            "Pipeline",
            "same",
            json!({
                "inputs": [{ "name": "images", "glob": "/*" }],
                "container": { "image": busybox("1")?, "command": ["sh", "-c", "echo x >/pfs/out/both"] },
            }),
        ))
        .await?;
    let (reason, message) = space.stalled::<Pipeline>("same", PODS).await?;
    assert_eq!(reason, "JobFailed", "{message}");
    for word in ["/both", "/a", "/b"] {
        assert!(message.contains(word), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_waits_scales_and_describes() -> Result<()> {
    let space = Space::new("kubectl").await?;
    let host = Host::new().await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.apply(&copier("edges", "images", &busybox("1")?, &host)).await?;
    let watch = space.kubectl_in_background(&["get", "vjob", "-w"])?;
    space.apply(&object("Commit", "first", json!({ "repo": "images", "changes": [put("/a", "a\n")] }))).await?;
    space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "vcommit/first"])?;
    let first: Commit = space.api().get("first").await?;
    let (job, _) = space.outcome("edges", &first).await?;
    let name = job.metadata.name.clone().unwrap_or_default();
    space.kubectl(&["wait", "--for=condition=Succeeded", "--timeout=60s", &format!("vjob/{name}")])?;
    space.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "vpipe/edges"])?;
    space.kubectl(&["scale", "vpipe/edges", "--replicas=3"])?;
    until("an Event tells of its end", SOON, async || {
        let described = space.kubectl(&["describe", "vjob", &name])?;
        let (_, events) = described.split_once("Events:").context("Events")?;
        Ok(events.lines().any(|line| line.contains("Normal") && line.contains("Succeeded") && line.contains("varve")))
    })
    .await?;
    let row = space.kubectl(&["get", "vjob", &name, "--no-headers"])?;
    assert_eq!(
        row.split_whitespace().take(6).collect::<Vec<_>>(),
        [name.as_str(), "edges", "True", "Succeeded", "1", "0"],
        "{row}"
    );
    let watched = watch.stop()?;
    assert!(watched.starts_with("NAME"), "{watched}");
    for state in ["Running", "Succeeded"] {
        assert!(watched.lines().any(|line| line.starts_with(&name) && line.contains(state)), "{state}: {watched}");
    }
    // Nothing of one Job's output is owed to a scale: the same datums, no run.
    host.forget();
    let again = space.change("images", "again", &[put("/b", "b\n")]).await?;
    let (job, _) = space.outcome("edges", &again).await?;
    assert_eq!(datums(&job), counts(2, 1, 1));
    let provenance = job.status.and_then(|s| s.provenance).context("a provenance")?;
    assert!(provenance.image_digest.is_some_and(|d| d.starts_with("sha256:")));
    assert_eq!(provenance.inputs.len(), 1);
    assert!(!provenance.nodes.is_empty());
    Ok(())
}

#[tokio::test]
async fn users_code_finds_no_credential() -> Result<()> {
    let space = Space::new("guest").await?;
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    space.change("images", "first", &[put("/a", "a\n")]).await?;
    let code = r"
        { env; id; cat /proc/self/mountinfo; ps; ls -la / /var/run /run /.varve /pfs 2>&1
          for p in /proc/[0-9]*; do cat $p/environ $p/cmdline 2>&1; done
          for f in $(ls -d /var/run/secrets/* /run/secrets/* /var/run/varv[e]/* /var/lib/varv[e]/* 2>/dev/null); do echo $f; cat $f; done
          fetch http://169.254.169.254/latest/meta-data/ 2>&1; } >/pfs/out/report";
    let mut pipeline = object(
        "Pipeline",
        "look",
        json!({
            "inputs": [{ "name": "images", "glob": "/" }],
            "container": { "image": busybox("1")?, "command": ["sh", "-c", code] },
        }),
    );
    pipeline["spec"]["datum"] = json!({ "tries": 1, "acceptExitCodes": [1] });
    space.apply(&pipeline).await?;
    let first: Commit = space.api().get("first").await?;
    space.outcome("look", &first).await?;
    let report = space.files("look", "main").await?.remove("/report").context("a report")?;
    assert!(report.contains("VARVE_JOB="), "{report}");
    let secrets = [env("AWS_ACCESS_KEY_ID")?, env("AWS_SECRET_ACCESS_KEY")?, env("VARVE_S3_ENDPOINT")?];
    // The API server's address is no credential, and the kubelet tells it to every container, without service links too.
    // Our paths stand in the code above in another spelling, since it also prints itself.
    let ours = ["serviceaccount", "eyJhbGci", "/var/run/varve", "/var/lib/varve"];
    for word in secrets.iter().map(String::as_str).chain(ours) {
        assert!(!report.contains(word), "found {word} in\n{report}");
    }
    assert!(!report.contains("uid=0"), "{report}");
    Ok(())
}
