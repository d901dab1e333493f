//! `varve dev` is killed at random moments, with edits between them, and comes to the same trees as one that never was.
//!
//! `VARVE_KILLS=100 cargo test -p varve --test kills -- --nocapture` kills more often than every run of the tests does
//! (about two seconds each); `VARVE_KILLS_SEED` repeats a run's edits and moments.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::time::{Instant, SystemTime};

use common::Project;
use fastrand::Rng;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use varve_api::conditions::{self, Type};
use varve_api::{Commit, Job, Repo};
use varve_format::RecordAt;
use varve_store::{Store, backend};

/// Kills of an ordinary run.
const KILLS: usize = 5;
/// Names of the files that are edited.
const FILES: [&str; 6] = ["amber", "birch", "cedar", "delta", "ember", "fjord"];

/// Files to lines, lines to numbers, each by itself; then all in one. Each takes a moment, so that some are at work when
/// they are killed.
const CHAIN: &str = r#"
apiVersion: varve.dev/v1alpha1
kind: Repo
metadata: {name: texts, annotations: {varve.dev/folder: texts}}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: sorted}
spec:
  inputs: [{name: texts, glob: /*}]
  parallelism: 2
  container: {image: none, command: [sh, -c, 'sleep 0.05; sort "$texts" >"${PFS:-/pfs}/out/$(basename "$texts")"']}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: counted}
spec:
  inputs: [{name: sorted, glob: /*}]
  container: {image: none, command: [sh, -c, 'wc -l <"$sorted" >"${PFS:-/pfs}/out/$(basename "$sorted")"']}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: summed}
spec:
  inputs: [{name: counted, glob: /}]
  container: {image: none, command: [sh, -c, 'sleep 0.05; cd "$counted" && head -n 1 * >"${PFS:-/pfs}/out/all"']}
"#;

/// One change of the folder of texts.
#[derive(Debug, Clone)]
enum Edit {
    Write(&'static str, String),
    Delete(&'static str),
}

impl Edit {
    fn make(&self, project: &Project) {
        match self {
            Self::Write(name, text) => project.write(&format!("texts/{name}"), text),
            Self::Delete(name) => {
                let _ = std::fs::remove_file(project.files().join("texts").join(name)); // it may be gone
            }
        }
    }
}

/// As many edits as kills. The last ones write every file, so that there is something to compare.
fn edits(random: &mut Rng, count: usize) -> Vec<Edit> {
    let text = |random: &mut Rng| {
        let lines: Vec<String> = (0..random.u8(1..30)).map(|_| random.u32(..).to_string()).collect();
        lines.join("\n") + "\n"
    };
    (0..count)
        .map(|number| match random.choice(FILES).unwrap_or(FILES[0]) {
            _ if number + FILES.len() >= count => Edit::Write(FILES[count - number - 1], text(random)),
            name if random.u8(..4) == 0 => Edit::Delete(name),
            name => Edit::Write(name, text(random)),
        })
        .collect()
}

fn project() -> Project {
    let project = Project::with(CHAIN);
    for name in FILES {
        project.write(&format!("texts/{name}"), name);
    }
    project
}

/// The tree of each Repo's branch `main`, once everything in the project's state is at rest and as it must be.
async fn final_trees(project: &Project) -> BTreeMap<String, String> {
    project.once().well();
    let mut dev = project.start();
    dev.until_it_serves();
    let client = project.client().await;
    check_commits(&client).await;
    check_jobs(&client).await;
    let bucket = backend::local(&project.state().join("store/default")).unwrap();
    let store = Store::open(bucket, object_store::path::Path::default()).await.unwrap();
    let mut trees = BTreeMap::new();
    for repo in Api::<Repo>::all(client).list(&ListParams::default()).await.unwrap() {
        let status = repo.status.as_ref().unwrap();
        let record = &status.branches.iter().find(|branch| branch.name == "main").unwrap().head.record;
        let at = RecordAt { pack: record.pack.parse().unwrap(), offset: record.offset, length: record.length };
        let tree = store.read_commit_unchecked(&at).await.unwrap().tree();
        trees.insert(repo.name_any(), format!("{} {} files", tree.id, tree.files));
    }
    assert!(dev.stop().success());
    project.until_nothing_runs();
    trees
}

fn is_ready(conditions: &[Condition]) -> bool {
    conditions::holds(conditions, Type::Ready)
}

/// None is left half done.
async fn check_commits(client: &Client) {
    for commit in Api::<Commit>::all(client.clone()).list(&ListParams::default()).await.unwrap() {
        let status = commit.status.as_ref();
        assert!(status.is_some_and(|status| is_ready(&status.conditions)), "{commit:#?}");
    }
}

/// Each has counted each datum once, and none was made twice for the same inputs and Pipeline.
async fn check_jobs(client: &Client) {
    let mut seen = HashSet::new();
    for job in Api::<Job>::all(client.clone()).list(&ListParams::default()).await.unwrap() {
        let counts = job.status.as_ref().and_then(|status| status.datums).unwrap_or_default();
        let is_over = job.status.as_ref().is_some_and(|status| is_ready(&status.conditions));
        assert!(is_over && counts.total == counts.skipped + counts.processed, "{job:#?}");
        let snapshot = &job.spec.snapshot;
        let work = (snapshot.uid.clone(), snapshot.generation, format!("{:?}", job.spec.inputs));
        assert!(seen.insert(work), "a second Job for the same: {job:#?}");
    }
}

fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    std::env::var(variable).ok().map_or_else(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_varve_dev_that_is_killed_again_and_again_comes_to_the_same_trees() {
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (kills, seed) = (number("VARVE_KILLS", || KILLS as u64), number("VARVE_KILLS_SEED", clock));
    println!("{kills} kills, VARVE_KILLS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let edits = edits(&mut random, usize::try_from(kills).unwrap());

    let undisturbed = project();
    let begin = Instant::now();
    undisturbed.once().well();
    let takes = begin.elapsed();
    let dev = undisturbed.start();
    for edit in &edits {
        edit.make(&undisturbed);
        std::thread::sleep(takes / 10);
    }
    assert!(dev.stop().success());

    let killed = project();
    for edit in &edits {
        let mut moment = || takes.mul_f64(random.f64() * 0.6);
        let (edited_at, killed_after) = (moment(), moment());
        let dev = killed.start();
        std::thread::sleep(edited_at);
        edit.make(&killed);
        std::thread::sleep(killed_after);
        dev.kill();
        killed.until_nothing_runs();
    }

    let (wanted, found) = (final_trees(&undisturbed).await, final_trees(&killed).await);
    for (repo, tree) in &wanted {
        println!("{repo:<8} {tree}; after {kills} kills {}", found.get(repo).map_or("nothing", String::as_str));
    }
    assert_eq!(found, wanted);
}
