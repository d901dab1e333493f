//! Many at once: Commits to many Pipelines in several namespaces, and what becomes of them and of the operator.
//!
//! Two rounds, of as many Commits each. In the first they come evenly over a minute. In the second all but a few are made
//! at once in one namespace, while the others go on as before: who is quiet must not wait for who is loud.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use varve_api::conditions::{self, Reason, Type};
use varve_api::{Commit, Job, Pipeline, Repo};
use varve_e2e::busybox;
use varve_e2e::wait::{Conditioned as _, until};

use crate::{audit, memory};

/// For all that a round sets off.
const LIMIT: Duration = Duration::from_mins(15);
/// How long nothing may be written once all is done.
const REST: Duration = Duration::from_mins(1);
/// Writes that come late belong to the round before.
const LATE_WRITES: Duration = Duration::from_secs(5);
/// Memory that the operator's pod may take.
const MEMORY_LIMIT_MIB: u64 = 1024;
/// Of so many Commits of the lopsided round one is made in a quiet namespace.
const QUIET: usize = 10;
/// Commits that are made at once, where one does not wait for the next.
const AT_ONCE: usize = 16;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Many {
    /// Namespaces with a store.
    #[arg(required = true)]
    namespaces: Vec<String>,
    /// Pipelines in all, each with a Repo of its own that it reads.
    #[arg(long)]
    pipelines: usize,
    /// Commits in each round.
    #[arg(long)]
    commits: usize,
    /// Over how many seconds the Commits of a round come.
    #[arg(long)]
    seconds: u64,
    /// Lets every Commit start a pod. Else the Pipelines' globs match nothing: what is measured is the operator alone.
    #[arg(long)]
    pods: bool,
}

/// A Commit to be made: its namespace, and the number of the Repo there.
type Place<'a> = (&'a str, usize);

/// From a Commit's creation to its being ready, by namespace.
type Waits = BTreeMap<String, Vec<Duration>>;

pub(crate) async fn many(many: &Many) -> Result<()> {
    let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
    let repos = many.pipelines.div_ceil(many.namespaces.len()).max(1);
    for namespace in &many.namespaces {
        set_up(&client, namespace, repos, many.pods).await?;
    }
    settle(&client, many).await?;
    println!(
        "{} Pipelines in {} namespaces; controller {} MiB before",
        repos * many.namespaces.len(),
        many.namespaces.len(),
        memory::peaks("controller")?
    );
    let mut made = BTreeMap::new();
    let even = |number: usize| {
        let namespace = number % many.namespaces.len();
        (many.namespaces[namespace].as_str(), number / many.namespaces.len() % repos)
    };
    let all: Vec<Place<'_>> = (0..many.commits).map(even).collect();
    round(&client, many, "evenly", (&all, &[]), &mut made).await?;
    let quiet = &many.namespaces[1..];
    let quiet: Vec<Place<'_>> = (0..many.commits / QUIET)
        .filter_map(|number| Some((quiet.get(number % quiet.len().max(1))?.as_str(), number / quiet.len() % repos)))
        .collect();
    let loud = many.namespaces.first().context("no namespace")?;
    let loud: Vec<Place<'_>> = (quiet.len()..many.commits).map(|number| (loud.as_str(), number % repos)).collect();
    round(&client, many, "one loud", (&quiet, &loud), &mut made).await?;
    at_rest(&many.namespaces).await
}

async fn set_up(client: &Client, namespace: &str, repos: usize, pods: bool) -> Result<()> {
    let create = PostParams::default();
    for number in 0..repos {
        let repo = Repo::new(&format!("in-{number}"), serde_json::from_value(json!({}))?);
        Api::namespaced(client.clone(), namespace).create(&create, &repo).await?;
        let spec = json!({
            "inputs": [{ "name": "in", "repo": format!("in-{number}"), "glob": if pods { "/*" } else { "/nothing*" } }],
            "container": { "image": busybox("1")?, "command": ["sh", "-c", "cp /pfs/in/* /pfs/out"] },
        });
        let pipeline = Pipeline::new(&format!("out-{number}"), serde_json::from_value(spec)?);
        Api::namespaced(client.clone(), namespace).create(&create, &pipeline).await?;
    }
    Ok(())
}

/// Makes the first places' Commits one after the other over the round's time, those of the second as fast as they are
/// taken, and reports what became of all.
async fn round(
    client: &Client,
    many: &Many,
    name: &str,
    (paced, at_once): (&[Place<'_>], &[Place<'_>]),
    made: &mut BTreeMap<(String, String), u64>,
) -> Result<()> {
    let log_end = audit::end()?;
    let (sender, ready) = mpsc::unbounded_channel();
    let watch = tokio::spawn(tell_ready(client.clone(), sender));
    let begun = Instant::now();
    let pause = Duration::from_secs(many.seconds) / u32::try_from(paced.len().max(1))?;
    let one_by_one = async {
        let mut ticks = tokio::time::interval(pause);
        let mut sent = Vec::new();
        for (number, place) in paced.iter().enumerate() {
            ticks.tick().await;
            sent.push(commit(client, *place, format!("{}-paced-{number}", dashed(name))).await?);
        }
        anyhow::Ok(sent)
    };
    let burst = stream::iter(at_once.iter().enumerate())
        .map(|(number, place)| commit(client, *place, format!("{}-burst-{number}", dashed(name))))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>();
    let (one_by_one, burst) = tokio::try_join!(one_by_one, burst)?;
    let sent: BTreeMap<(String, String), Instant> = one_by_one.into_iter().chain(burst).collect();
    for (namespace, repo) in paced.iter().chain(at_once) {
        *made.entry(((*namespace).to_owned(), format!("in-{repo}"))).or_default() += 1;
    }
    let waits =
        tokio::time::timeout(LIMIT, until_ready(ready, sent)).await.context("not all Commits came to be ready")??;
    watch.abort();
    let committed = begun.elapsed();
    settle(client, many).await?;
    let settled = begun.elapsed();
    nothing_is_lost(client, made).await?;
    println!(
        "{name}: {} Commits in {:.0} s, all ready after {:.0} s, all Pipelines up to date after {:.0} s; none lost",
        paced.len() + at_once.len(),
        many.seconds,
        committed.as_secs_f64(),
        settled.as_secs_f64()
    );
    report(&waits);
    println!("  controller: {} MiB at its peak, of {MEMORY_LIMIT_MIB} MiB", memory::peaks("controller")?);
    tokio::time::sleep(LATE_WRITES).await;
    calls(log_end, paced.len() + at_once.len())
}

fn dashed(name: &str) -> String {
    name.replace(' ', "-")
}

async fn commit(client: &Client, (namespace, repo): Place<'_>, name: String) -> Result<((String, String), Instant)> {
    let path = format!("/{name}");
    let spec = json!({ "repo": format!("in-{repo}"), "changes": [{ "put": { "path": path, "text": name } }] });
    let commit = Commit::new(&name, serde_json::from_value(spec)?);
    let begun = Instant::now();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &commit).await?;
    Ok(((namespace.to_owned(), name), begun))
}

/// Tells of every Commit that is ready, when it is seen so.
async fn tell_ready(client: Client, sender: mpsc::UnboundedSender<((String, String), Instant)>) -> Result<()> {
    let mut commits =
        watcher(Api::<Commit>::all(client), watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(commit) = commits.try_next().await? {
        if conditions::holds(commit.conditions(), Type::Ready) {
            let key = (commit.namespace().unwrap_or_default(), commit.name_any());
            if sender.send((key, Instant::now())).is_err() {
                break; // nobody wants to know any more
            }
        }
    }
    Ok(())
}

async fn until_ready(
    mut ready: mpsc::UnboundedReceiver<((String, String), Instant)>,
    mut sent: BTreeMap<(String, String), Instant>,
) -> Result<Waits> {
    let mut waits = Waits::new();
    while !sent.is_empty() {
        let (key, at) = ready.recv().await.context("the watch of Commits ended")?;
        if let Some(begun) = sent.remove(&key) {
            waits.entry(key.0).or_default().push(at.saturating_duration_since(begun));
        }
    }
    Ok(waits)
}

/// Waits until no Pipeline has anything to do any more.
async fn settle(client: &Client, many: &Many) -> Result<()> {
    until("all Pipelines are up to date", LIMIT, async || {
        for namespace in &many.namespaces {
            let pipelines = Api::<Pipeline>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
            let jobs = Api::<Job>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
            let is_settled = pipelines.iter().all(|pipeline| {
                let ready = conditions::find(pipeline.conditions(), Type::Ready.as_str());
                ready.is_some_and(|ready| {
                    [Reason::UpToDate, Reason::WaitingForInput].iter().any(|reason| ready.reason == reason.as_str())
                })
            });
            let have_ended = jobs.iter().all(|job| conditions::holds(job.conditions(), Type::Ready));
            if !is_settled || !have_ended {
                tokio::time::sleep(Duration::from_millis(500)).await;
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Every branch holds as many commits as were made on it.
async fn nothing_is_lost(client: &Client, made: &BTreeMap<(String, String), u64>) -> Result<()> {
    for ((namespace, name), made) in made {
        let repo = Api::<Repo>::namespaced(client.clone(), namespace).get(name).await?;
        let branches = repo.status.unwrap_or_default().branches;
        let there = branches.iter().find(|branch| branch.name == "main").map_or(0, |branch| branch.head.seq);
        ensure!(there == *made, "Repo {namespace}/{name}: {made} Commits were made, and {there} are on its branch");
    }
    Ok(())
}

fn report(waits: &Waits) {
    let at = |waits: &[Duration], percent: usize| {
        waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1))).map_or(0, Duration::as_millis)
    };
    for (namespace, waits) in waits {
        let mut waits = waits.clone();
        waits.sort();
        println!(
            "  {namespace}: {} Commits, from created to Ready p50 {} ms, p90 {} ms, max {} ms",
            waits.len(),
            at(&waits, 50),
            at(&waits, 90),
            at(&waits, 100)
        );
    }
}

/// What the operator asked of the API server since then, for each Commit with the Job that came of it.
fn calls(log_end: usize, commits: usize) -> Result<()> {
    let mut counts = BTreeMap::<(bool, String), usize>::new();
    for call in audit::calls_since(log_end)?.iter().filter(|call| call.is_of_an_object()) {
        *counts.entry((call.is_write(), call.what())).or_default() += 1;
    }
    let hundredths = |count: usize| format!("{}.{:02}", count / commits, count * 100 / commits % 100);
    for (is_write, what) in [(true, "writes"), (false, "reads")] {
        let of_kind = || counts.iter().filter(|((write, _), _)| *write == is_write);
        let sum = of_kind().map(|(_, count)| count).sum();
        println!("  {what} of the API for each Commit, with all that came of it: {}", hundredths(sum));
        for ((_, what), count) in of_kind() {
            println!("    {:>6}  {what}", hundredths(*count));
        }
    }
    Ok(())
}

/// Once all is done nothing is written.
async fn at_rest(namespaces: &[String]) -> Result<()> {
    let log_end = audit::end()?;
    tokio::time::sleep(REST).await;
    let writes = audit::calls_since(log_end)?;
    let writes: Vec<_> = writes
        .iter()
        .filter(|call| call.is_write() && call.is_of_an_object() && namespaces.contains(&call.namespace))
        .map(|call| format!("{} {}/{}", call.what(), call.namespace, call.name))
        .collect();
    println!(
        "at rest: {} writes in {} s (limit 0); controller {} MiB",
        writes.len(),
        REST.as_secs(),
        memory::resident("controller")?
    );
    ensure!(writes.is_empty(), "written at rest: {writes:?}");
    Ok(())
}
