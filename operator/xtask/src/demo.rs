//! `demo`: the example `docs/examples/edges` from nothing to pictures in a folder, on a cluster that stays up.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::{Access, Cluster};
use crate::images::{self, Images};
use crate::kubectl::{condition, wait};
use crate::{apply, bucket, example, run};

/// The example's namespace.
const NAMESPACE: &str = "edges";
/// The last file of the list comes a day later than the others.
const BUCKET: &str = "field";
/// On everything that one Commit sets off.
const RUN_LABEL: &str = "varve.dev/run";
/// From a Commit to the end of all that it sets off.
const RUN_LIMIT: Duration = Duration::from_mins(5);

pub(crate) fn demo() -> Result<()> {
    let start = Instant::now();
    let cluster = Cluster::of_the_user();
    run_demo(&cluster)
        .with_context(|| format!("the demo stopped; the cluster's logs are in {}", cluster.logs().display()))?;
    println!("\ndone in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn run_demo(cluster: &Cluster) -> Result<()> {
    let access = run::step("a Kubernetes cluster on this machine, with a registry and a bucket", || cluster.up())?;
    let images = images::build_and_push(&access)?;
    run::step("Varve, from manifests/", || apply::varve(&access, &images))?;
    run::step("fifteen photographs into the bucket s3://field", || {
        apply::namespace(&access, NAMESPACE)?;
        access.apply(&["-n", NAMESPACE], &bucket::import_secret(&access, BUCKET)?)?;
        fill_the_bucket(&access, &images)
    })?;
    run::step("the example: a Repo and two Pipelines", || {
        apply_files(&access, &["repo.yaml", "pipelines.yaml"])?;
        access.show(&["-n", NAMESPACE, "wait", "--for=condition=Ready", "--timeout=60s", "vrepo/images"])
    })?;
    run::step("Monday: fourteen photographs", || commit_and_wait(&access, "monday"))?;
    run::step("Tuesday: one photograph more", || commit_and_wait(&access, "tuesday"))?;

    for kind in ["vrepo", "vcommit", "vpipe", "vjob"] {
        println!("\n$ kubectl -n {NAMESPACE} get {kind}");
        access.show(&["-n", NAMESPACE, "get", kind])?;
    }
    println!("\nWhere the montage comes from:");
    provenance(&access)?;

    let folder = run::root().join("out/demo");
    let folder = folder.to_str().context("the repository's path is not UTF-8")?;
    println!("\nThe pictures go to out/demo:");
    run::run(
        "write the pictures",
        &mut images.tool(&access, &["checkout", NAMESPACE, "edges", "montage", "--to", folder]),
    )?;
    println!("look at out/demo/montage/montage.png");
    println!("\nThe cluster stays up. To go on:\n");
    println!("    export KUBECONFIG={}", access.get("KUBECONFIG")?);
    println!("    alias kubectl={}", access.get("VARVE_KUBECTL")?);
    println!("    kubectl -n {NAMESPACE} describe vjob");
    println!("    {}    # leaves nothing behind", cluster.down_command());
    Ok(())
}

fn fill_the_bucket(access: &Access, images: &Images) -> Result<()> {
    access.make_bucket(BUCKET)?;
    let photographs = example::photographs()?;
    let (last, first) = photographs.split_last().context("the list of photographs is empty")?;
    let mut command = images.tool(access, &["upload", BUCKET]);
    for (day, (name, path)) in first.iter().map(|p| ("monday", p)).chain([("tuesday", last)]) {
        command.arg(format!("{day}/{name}={}", path.display()));
    }
    run::run("upload the photographs", &mut command)
}

/// Applies files of the example, with this cluster's registry in them.
fn apply_files(access: &Access, names: &[&str]) -> Result<()> {
    for name in names {
        let path = example::folder().join(name);
        let manifests = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let manifests = manifests.replace(example::REGISTRY, access.registry()?);
        print!("{}", access.apply(&["-n", NAMESPACE], &manifests)?);
    }
    Ok(())
}

/// Applies a Commit and waits until everything that it sets off is done.
fn commit_and_wait(access: &Access, name: &str) -> Result<()> {
    apply_files(access, &[&format!("{name}.yaml")])?;
    let start = Instant::now();
    let run = wait(&format!("Commit {name}"), RUN_LIMIT, || {
        let commit = access.get_json(&["-n", NAMESPACE, "vcommit", name])?;
        refuse_stalled(&commit)?;
        Ok(match condition(&commit, "Ready") {
            Some(("True", _)) => Ok(commit["status"]["run"].as_str().unwrap_or_default().to_owned()),
            seen => Err(format!("Ready is {seen:?}")),
        })
    })?;
    println!("Commit {name} is Ready after {:.1} s", start.elapsed().as_secs_f64());
    let label = format!("{RUN_LABEL}={run}");
    wait(&format!("the montage of {name}"), RUN_LIMIT, || {
        let jobs = access.get_json(&["-n", NAMESPACE, "vjob", "-l", &label])?;
        let jobs = jobs["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        jobs.iter().try_for_each(refuse_stalled)?;
        let is_done = |job: &&Value| {
            job["spec"]["pipeline"] == "montage" && condition(job, "Ready").is_some_and(|c| c.0 == "True")
        };
        Ok(if jobs.iter().any(|job| is_done(&job)) { Ok(()) } else { Err(summary(jobs)) })
    })?;
    println!("its montage is Ready after {:.1} s", start.elapsed().as_secs_f64());
    access.show(&["-n", NAMESPACE, "get", "vjob", "-l", &label])
}

fn refuse_stalled(object: &Value) -> Result<()> {
    if let Some(("True", message)) = condition(object, "Stalled") {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let explanation = object["status"]["explanation"].as_str().unwrap_or_default();
        bail!("{} {name} is stalled: {message} {explanation}", object["kind"].as_str().unwrap_or_default());
    }
    Ok(())
}

fn summary(jobs: &[Value]) -> String {
    let line = |job: &Value| {
        let explanation = job["status"]["explanation"].as_str().unwrap_or("no explanation");
        format!("Job {}: {explanation}", job["metadata"]["name"].as_str().unwrap_or_default())
    };
    if jobs.is_empty() { "there is no Job yet".into() } else { jobs.iter().map(line).collect::<Vec<_>>().join("; ") }
}

/// Prints what the montage stands on, from the Commits' own status, down to the photographs.
fn provenance(access: &Access) -> Result<()> {
    let commits = access.get_json(&["-n", NAMESPACE, "vcommit"])?;
    let commits = commits["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let newest = commits
        .iter()
        .filter(|commit| commit["spec"]["repo"] == "montage")
        .max_by_key(|commit| commit["status"]["seq"].as_u64())
        .context("there is no Commit of the montage")?;
    let mut queue = vec![(0, newest)];
    while let Some((depth, commit)) = queue.pop() {
        let indent = "    ".repeat(depth);
        let text = |pointer: &str| commit.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        println!("{indent}{} {} (seal {:.12})", text("/spec/repo"), text("/status/uid"), text("/status/seal"));
        let Some(provenance) = commit.pointer("/status/provenance") else {
            println!("{indent}  by hand: Commit {}, {}", text("/metadata/name"), text("/spec/message"));
            continue;
        };
        println!(
            "{indent}  by Job {} of Pipeline {}",
            text("/status/provenance/job"),
            text("/status/provenance/pipeline")
        );
        println!(
            "{indent}  image {}, configuration {}",
            text("/status/provenance/image"),
            text("/status/provenance/imageDigest")
        );
        println!("{indent}  spec {}", text("/status/provenance/specDigest"));
        for input in provenance["inputs"].as_array().map(Vec::as_slice).unwrap_or_default() {
            queue.extend(commits.iter().filter(|c| c["status"]["uid"] == input["commit"]).map(|c| (depth + 1, c)));
        }
    }
    Ok(())
}
