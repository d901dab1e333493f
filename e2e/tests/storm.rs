//! Operator and workers are killed again and again, in every way that a cluster knows, under a Job of 60 datums over 4
//! shards on three nodes: the same output, nothing finished computed twice, no try used up but for lack of memory.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, EvictParams, ListParams};
use serde_json::{Value, json};
use varve_api::{Commit, Job};
use varve_e2e::host::Host;
use varve_e2e::outcome::{counts, datums, tree};
use varve_e2e::wait::until;
use varve_e2e::{Space, busybox, env, kill, object};

/// The Job's datums.
const DATUMS: usize = 60;
/// Those whose first try eats all memory that it is given.
const HUNGRY: [&str; 2] = ["f17", "f42"];
/// What had ended this long before a kill is recorded: the keeper records at least every second.
const RECORDED_AFTER: Duration = Duration::from_secs(3);
/// How long after a kill its pod may still come to the end of a datum that it can't record.
const STOPPED_AFTER: Duration = Duration::from_secs(2);
/// How long a storm may take: an operator that was killed five times is started again after two minutes and a half.
const STORM: Duration = Duration::from_mins(20);

/// What is done to the operator or to a worker's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The leading operator's process is killed.
    Operator,
    /// The leading operator's pod is deleted without grace.
    OperatorPod,
    Delete,
    Evict,
    Keeper,
    Shim,
    /// All processes of a node.
    Node,
    /// A node is emptied as for maintenance.
    Drain,
}

/// Ten blows to the operator and eight to workers, besides two of [`HUNGRY`], and a drained node.
const BLOWS: [(Blow, usize); 8] = [
    (Blow::Operator, 5),
    (Blow::OperatorPod, 5),
    (Blow::Delete, 3),
    (Blow::Evict, 2),
    (Blow::Keeper, 1),
    (Blow::Shim, 1),
    (Blow::Node, 1),
    (Blow::Drain, 1),
];

impl Blow {
    fn is_to_workers(self) -> bool {
        !matches!(self, Self::Operator | Self::OperatorPod)
    }

    /// Strikes; an error where there is nothing to strike now.
    async fn strike(self, space: &Space, dice: &mut fastrand::Rng) -> Result<()> {
        let pods = space.api::<Pod>();
        let name = |pod: &Pod| pod.name_any();
        match self {
            Self::Operator => kill::operator(&space.client()).await,
            Self::OperatorPod => {
                let leader = kill::leader(&space.client()).await?;
                let pods: Api<Pod> = Api::namespaced(space.client(), "varve-system");
                pods.delete(&name(&leader), &DeleteParams::default().grace_period(0)).await?;
                Ok(())
            }
            Self::Delete => {
                pods.delete(&name(&worker(space, dice, |_| true).await?), &DeleteParams::default()).await?;
                Ok(())
            }
            Self::Evict => {
                pods.evict(&name(&worker(space, dice, |_| true).await?), &EvictParams::default()).await?;
                Ok(())
            }
            Self::Keeper => kill::keeper(&worker(space, dice, |_| true).await?),
            Self::Shim => kill::shim(&worker(space, dice, |_| true).await?),
            Self::Node => {
                let number = node_with_workers(space, dice).await?.replace("node-", "");
                let killed = Command::new(env("VARVE_CLUSTER_SH")?).args(["kill-node", &number]).status()?;
                ensure!(killed.success(), "kill node-{number}");
                Ok(())
            }
            Self::Drain => {
                let node = node_with_workers(space, dice).await?;
                let options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=3m"];
                space.kubectl(&[&["drain", &node][..], &options].concat())?;
                space.kubectl(&["uncordon", &node]).map(drop)
            }
        }
    }
}

/// A node that workers run on, and nothing that the cluster can't be without.
async fn node_with_workers(space: &Space, dice: &mut fastrand::Rng) -> Result<String> {
    let pod = worker(space, dice, |node| node != "node-1").await?;
    pod.spec.and_then(|spec| spec.node_name).context("its node")
}

/// One of the workers' pods that run on such a node.
async fn worker(space: &Space, dice: &mut fastrand::Rng, is_on: impl Fn(&str) -> bool) -> Result<Pod> {
    let all = space.api::<Pod>().list(&ListParams::default().labels("varve.dev/job")).await?;
    let runs = |pod: &&Pod| {
        let is_running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let is_there = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(&is_on);
        is_running && is_there && pod.metadata.deletion_timestamp.is_none()
    };
    let running: Vec<&Pod> = all.items.iter().filter(runs).collect();
    let chosen = dice.choice(running).context("no worker's pod runs")?;
    Ok(chosen.clone())
}

/// When the blows fall: how many datums have ended by then.
fn moments(dice: &mut fastrand::Rng) -> Vec<(usize, Blow)> {
    let blows = BLOWS.iter().flat_map(|&(blow, count)| std::iter::repeat_n(blow, count));
    let mut moments: Vec<(usize, Blow)> = blows.map(|blow| (dice.usize(2..50), blow)).collect();
    moments.sort_by_key(|&(after, _)| after);
    moments
}

/// 60 files, and a Pipeline over 4 shards that counts each start and each end, and in between waits until the host lets it
/// go on; the Commit.
async fn sixty(space: &Space, host: &Host, hungry: &str) -> Result<Commit> {
    space.with_store().await?;
    space.apply(&object("Repo", "images", json!({}))).await?;
    let code = format!(
        "f=$(echo /pfs/images/*); n=${{f##*/}}; fetch {0}/count/start/$n\n\
         case $n in {hungry}) if fetch {0}/once/$n; then tail /dev/zero; exit 0; fi; esac\n\
         until fetch {0}/files/go >/dev/null 2>&1; do sleep 0.2; done; sleep 1; cat $f >/pfs/out/$n; fetch {0}/count/end/$n",
        host.url
    );
    let spec = json!({
        "inputs": [{ "name": "images", "glob": "/*" }], "parallelism": 4, "datum": { "tries": 3 },
        "container": {
            "image": busybox("1")?, "command": ["sh", "-c", code], "resources": { "limits": { "memory": "64Mi" } },
        },
    });
    space.apply(&object("Pipeline", "copy", spec)).await?;
    let changes: Vec<Value> =
        (0..DATUMS).map(|i| json!({ "put": { "path": format!("/f{i:02}"), "text": format!("file {i}\n") } })).collect();
    space.change("images", "all", &changes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_and_a_drained_node_lose_nothing_and_repeat_nothing() -> Result<()> {
    let seed = std::env::var("VARVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut dice = fastrand::Rng::with_seed(seed);
    let moments = moments(&mut dice);
    println!("VARVE_SEED={seed}: {moments:?}");

    let calm = Space::new("calm").await?;
    let host = Host::new().await?;
    let began = Instant::now();
    host.serve("go", "");
    let input = sixty(&calm, &host, "none").await?;
    let (_, undisturbed) = calm.outcome("copy", &input).await?;
    println!("undisturbed: {:.0} s", began.elapsed().as_secs_f64());

    let space = Space::new("storm").await?;
    let host = Host::new().await?;
    let began = Instant::now();
    let input = sixty(&space, &host, &HUNGRY.join("|")).await?;
    let ended = || host.counts().keys().filter(|what| what.starts_with("end/")).count();
    let mut kills = Vec::new();
    for (after, blow) in moments {
        host.serve("go", "");
        until("work goes on", STORM, async || Ok(ended() >= after)).await?;
        host.withdraw("go"); // so that there is work left to be struck, however long the operator takes to come back
        let mut struck = Instant::now();
        until(&format!("{blow:?} finds what to strike"), STORM, async || {
            struck = Instant::now();
            let done = blow.strike(&space, &mut dice).await;
            Ok(done.inspect_err(|error| println!("{blow:?}: {error:#}")).is_ok())
        })
        .await?;
        println!("{:4.0} s, {:2} ended: {blow:?}", began.elapsed().as_secs_f64(), ended());
        if blow.is_to_workers() {
            kills.push((struck, Instant::now() + STOPPED_AFTER));
        }
    }
    host.serve("go", "");
    until("the Job ends", STORM, async || {
        let jobs = space.api::<Job>().list(&ListParams::default()).await?;
        Ok(jobs.items.iter().any(|job| datums(job).processed == DATUMS as u64))
    })
    .await?;
    let (job, output) = space.outcome("copy", &input).await?;
    println!("the storm: {:.0} s", began.elapsed().as_secs_f64());
    assert_eq!(tree(&output), tree(&undisturbed));
    assert_eq!(datums(&job), counts(DATUMS as u64, 0, DATUMS as u64));
    let is_lost = |at: Instant| kills.iter().any(|&(from, to)| at + RECORDED_AFTER > from && at < to);
    check_nothing_was_repeated(&host, is_lost)?;

    let used = tries(&space, &job).await?;
    println!("datums by the tries that they used: {used:?}");
    assert_eq!(used.values().sum::<usize>(), DATUMS);
    let extra: usize = used.iter().map(|(tries, count)| (*tries as usize - 1) * count).sum();
    let by_shims = BLOWS.iter().find(|(blow, _)| *blow == Blow::Shim).map_or(0, |(_, count)| *count);
    // A pod may have been taken away before it could record that memory ran out; the code's own container may have died
    // between two datums.
    let first_start = |name: &str| host.calls().into_iter().find(|call| call.what == format!("start/{name}"));
    let certain = HUNGRY.iter().filter(|name| first_start(name).is_some_and(|call| !is_lost(call.at))).count();
    assert!((certain..=HUNGRY.len() + by_shims).contains(&extra), "{extra} tries used up: {used:?}");
    Ok(())
}

/// No datum began again that had been recorded: whose end, at that time, no kill can have taken away.
fn check_nothing_was_repeated(host: &Host, is_lost: impl Fn(Instant) -> bool) -> Result<()> {
    let mut ended: BTreeMap<String, Instant> = BTreeMap::new();
    for call in host.calls() {
        let (kind, name) = call.what.split_once('/').context("start/… or end/…")?;
        match (kind, ended.get(name)) {
            ("end", _) => drop(ended.insert(name.to_owned(), call.at)),
            ("start", Some(&at)) => {
                ensure!(is_lost(at), "{name} was computed again, though its result was recorded before any kill");
            }
            _ => {}
        }
    }
    ensure!(ended.len() == DATUMS, "{} datums came to their end", ended.len());
    Ok(())
}

/// How many datums used how many tries.
async fn tries(space: &Space, job: &Job) -> Result<BTreeMap<u32, usize>> {
    let store = space.store().await?;
    let keys = store.list_results(job.uid().context("the Job's uid")?.parse()?).await?;
    let results: Vec<_> = store.read_results(job.uid().context("the Job's uid")?.parse()?, keys).try_collect().await?;
    let mut of_datum: BTreeMap<&[u8], u32> = BTreeMap::new();
    for result in results.iter().flat_map(|(_, results)| &results.datums) {
        let most = of_datum.entry(&result.hash).or_default();
        *most = result.tries.max(*most);
    }
    let mut counts = BTreeMap::new();
    for tries in of_datum.into_values() {
        *counts.entry(tries).or_default() += 1;
    }
    Ok(counts)
}
