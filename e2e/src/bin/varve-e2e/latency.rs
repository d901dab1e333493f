//! What the operator adds to a Job, seen from outside it.
//!
//! One file a Commit, one datum a Job, one Commit after the other. Times are of one clock, the machine's time since
//! boot: ours when a watch tells us, the datum's when its code wrote it down last. Writes are counted by the API
//! server's audit log, not by the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1 as batch;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use varve_api::{Commit, Pipeline, Repo, conditions, labels};
use varve_e2e::busybox;
use varve_e2e::wait::Conditioned as _;

use crate::audit;
use crate::checkout::checkout;

/// What the operator writes for.
const JOB: &str = "Job";
const PROGRESS: &str = "Job's progress";
const INPUT: &str = "Commit that sets a Job off";
/// Begins the names of Commits.
const ROUND: &str = "round-";
/// From a Commit to its output; a pod's start is most of it.
const ROUND_LIMIT: Duration = Duration::from_mins(1);
/// Writes that come late belong to the last Job.
const LATE_WRITES: Duration = Duration::from_secs(2);

pub(crate) async fn latency(namespace: &str, rounds: u32) -> Result<()> {
    let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
    let repo = Repo::new("lines", serde_json::from_value(json!({}))?);
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &repo).await?;
    let code = "cat /proc/uptime > /pfs/out/$(basename /pfs/lines/*)";
    let spec = json!({
        "inputs": [{ "name": "lines", "glob": "/*" }],
        "container": { "image": busybox("1")?, "command": ["sh", "-c", code] },
    });
    let pipeline = Pipeline::new("ends", serde_json::from_value(spec)?);
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &pipeline).await?;
    // What stands in it already is of an earlier run.
    let log_begin = audit::end()?;
    let seen = measure(&client, namespace, rounds).await?;
    tokio::time::sleep(LATE_WRITES).await;
    report(namespace, &seen, log_begin).await
}

/// One Commit's way, in seconds since the machine's boot.
#[derive(Default)]
struct Round {
    commit_ready: Option<f64>,
    batch_job: Option<f64>,
    output_ready: Option<f64>,
}

/// Makes the Commits and watches what comes of each; the first is not kept.
async fn measure(client: &Client, namespace: &str, rounds: u32) -> Result<BTreeMap<String, Round>> {
    let commits: Api<Commit> = Api::namespaced(client.clone(), namespace);
    let jobs: Api<batch::Job> = Api::namespaced(client.clone(), namespace);
    let mut kept = BTreeMap::new();
    for number in 0..=rounds {
        let name = format!("{ROUND}{number:03}");
        let round = tokio::time::timeout(ROUND_LIMIT, one(&commits, &jobs, &name)).await;
        let round = round.with_context(|| format!("{name}: no output within {} s", ROUND_LIMIT.as_secs()))??;
        if number > 0 {
            kept.insert(name, round);
        }
    }
    Ok(kept)
}

async fn one(commits: &Api<Commit>, jobs: &Api<batch::Job>, name: &str) -> Result<Round> {
    let (commit_list, job_list) =
        (commits.list_metadata(&ListParams::default()).await?, jobs.list_metadata(&ListParams::default()).await?);
    let old: BTreeSet<_> = job_list.iter().filter_map(ResourceExt::uid).collect();
    let since = |version: &Option<String>| version.clone().context("a list has no version");
    let mut commit_events =
        commits.watch(&WatchParams::default(), &since(&commit_list.metadata.resource_version)?).await?.boxed();
    let mut job_events =
        jobs.watch(&WatchParams::default(), &since(&job_list.metadata.resource_version)?).await?.boxed();
    let commit = Commit::new(
        name,
        serde_json::from_value(json!({
            "repo": "lines", "changes": [{ "put": { "path": format!("/{name}"), "text": format!("{name}\n") } }],
        }))?,
    );
    commits.create(&PostParams::default(), &commit).await?;
    let mut round = Round::default();
    while round.output_ready.is_none() {
        tokio::select! {
            event = commit_events.try_next() => {
                let Some(WatchEvent::Modified(seen) | WatchEvent::Added(seen)) = event? else { continue };
                if !conditions::holds(seen.conditions(), conditions::Type::Ready) {
                    continue;
                }
                if seen.name_any() == name {
                    round.commit_ready.get_or_insert(uptime()?);
                } else if seen.spec.repo == "ends" && round.commit_ready.is_some() {
                    round.output_ready.get_or_insert(uptime()?);
                }
            }
            event = job_events.try_next() => {
                let Some(WatchEvent::Added(seen)) = event? else { continue };
                let is_new = seen.uid().is_some_and(|uid| !old.contains(&uid));
                if is_new && seen.labels().contains_key(labels::PIPELINE) {
                    round.batch_job.get_or_insert(uptime()?);
                }
            }
        }
    }
    Ok(round)
}

/// Seconds since the machine's boot, to a hundredth: the same clock in every container.
fn uptime() -> Result<f64> {
    parse_uptime(&std::fs::read_to_string("/proc/uptime")?)
}

fn parse_uptime(text: &str) -> Result<f64> {
    text.split(' ').next().and_then(|first| first.parse().ok()).context("read /proc/uptime")
}

async fn report(namespace: &str, seen: &BTreeMap<String, Round>, log_begin: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    checkout(namespace, &["ends".into()], folder.path()).await?;
    let (mut started, mut published) = (Vec::new(), Vec::new());
    for (name, round) in seen {
        let ended = parse_uptime(&std::fs::read_to_string(folder.path().join("ends").join(name))?)?;
        let (Some(ready), Some(job), Some(output)) = (round.commit_ready, round.batch_job, round.output_ready) else {
            bail!("{name}: not all of its events were seen");
        };
        started.push(job - ready);
        published.push(output - ended);
    }
    line("Commit Ready → batch/v1 Job created", started)?;
    line("last datum's code ended → output Commit Ready", published)?;
    writes(namespace, seen.len(), log_begin)
}

fn line(what: &str, mut seconds: Vec<f64>) -> Result<()> {
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| seconds.get((seconds.len() * percent / 100).min(seconds.len().saturating_sub(1)));
    let (p50, p90, max) = (
        at(50).context("nothing measured")?,
        at(90).context("nothing measured")?,
        at(100).context("nothing measured")?,
    );
    println!("{what}: p50 {:.0} ms, p90 {:.0} ms, max {:.0} ms", p50 * 1e3, p90 * 1e3, max * 1e3);
    Ok(())
}

/// The operator's writes, by what they were for, from the audit log. Events and Leases are not counted.
fn writes(namespace: &str, jobs: usize, log_begin: usize) -> Result<()> {
    let mut counts = BTreeMap::<(&str, String), usize>::new();
    let mut ended = BTreeSet::new();
    let calls = audit::calls_since(log_begin)?;
    let ours = calls.iter().filter(|call| call.namespace == namespace && call.is_write() && call.is_of_an_object());
    // From the end, so that the last word on each Job is known from those before it.
    for call in ours.rev() {
        let purpose = match (call.resource.as_str(), call.is_status) {
            ("pipelines", true) => PROGRESS,
            ("jobs", true) if !ended.insert(&call.name) => PROGRESS,
            ("repos", _) if call.name == "lines" => INPUT,
            ("commits", _) if call.name.starts_with(ROUND) => INPUT,
            _ => JOB,
        };
        *counts.entry((purpose, call.what())).or_default() += 1;
    }
    // The warm-up round is in the log too.
    let jobs = jobs + 1;
    let tenths = |count: usize| format!("{}.{}", count / jobs, count * 10 / jobs % 10);
    for purpose in [JOB, PROGRESS, INPUT] {
        let of_purpose = || counts.iter().filter(|((of, _), _)| *of == purpose);
        println!(
            "API writes of the operator for each {purpose}: {}",
            tenths(of_purpose().map(|(_, count)| count).sum())
        );
        for ((_, what), count) in of_purpose() {
            println!("  {:>5}  {what}", tenths(*count));
        }
    }
    Ok(())
}
