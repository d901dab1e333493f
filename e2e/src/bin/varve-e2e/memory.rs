//! What memory a large file takes on its way: from a URL through an import pod into the store, through a Pipeline that
//! copies it, and back into the store. Read from `/proc` of Varve's own processes, which run on this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use varve_api::{Commit, Job, Pipeline, Repo, conditions};
use varve_e2e::busybox;
use varve_e2e::host::{Host, Noise};

/// The limit of each of Varve's own containers in a Job's pod.
const LIMIT_MIB: u64 = 256;
const SAMPLE: Duration = Duration::from_millis(200);
/// For the whole way of the file.
const LIMIT: Duration = Duration::from_mins(20);

pub(crate) async fn memory(namespace: &str, size: u64) -> Result<()> {
    let client = Client::try_default().await.context("connect to the cluster in KUBECONFIG")?;
    let noise = Noise { size, seed: 1 };
    let id = noise.id();
    let host = Host::new().await?;
    let url = host.serve_noise("large", noise);
    let before = peaks("controller")?;
    let mut peaks_seen = BTreeMap::new();
    let done = tokio::time::timeout(LIMIT, through(&client, namespace, &url));
    tokio::pin!(done);
    loop {
        tokio::select! {
            done = &mut done => {
                done.context("the file's way took too long")??;
                break;
            }
            () = tokio::time::sleep(SAMPLE) => {
                for command in ["controller", "import", "keeper"] {
                    let seen = peaks_seen.entry(command).or_insert(0);
                    *seen = peaks(command)?.max(*seen);
                }
            }
        }
    }
    let folder = tempfile::tempdir()?;
    crate::checkout::checkout(namespace, &["copy".into()], folder.path()).await?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(folder.path().join("copy/large"))?)?;
    ensure!(hasher.finalize() == id, "the copy differs from the file");
    println!("a file of {} MiB through an import, a Pipeline and back; peaks of resident memory:", size >> 20);
    println!("  controller {:>4} MiB, {} MiB before", peaks_seen["controller"], before);
    for command in ["import", "keeper"] {
        println!("  {command:<10} {:>4} MiB of {LIMIT_MIB} MiB", peaks_seen[command]);
    }
    let over: Vec<_> = peaks_seen.iter().filter(|(_, peak)| **peak > LIMIT_MIB || **peak == 0).collect();
    ensure!(over.is_empty(), "over the limit, or not seen at all: {over:?}");
    Ok(())
}

/// Commits the file, and waits until its copy is committed too.
async fn through(client: &Client, namespace: &str, url: &str) -> Result<()> {
    let create = PostParams::default();
    let repo = Repo::new("files", serde_json::from_value(json!({}))?);
    Api::namespaced(client.clone(), namespace).create(&create, &repo).await?;
    let code = "cp /pfs/files/large /pfs/out/large";
    let spec = json!({
        "inputs": [{ "name": "files", "glob": "/" }],
        "container": { "image": busybox("1")?, "command": ["sh", "-c", code] },
    });
    let pipeline = Pipeline::new("copy", serde_json::from_value(spec)?);
    Api::namespaced(client.clone(), namespace).create(&create, &pipeline).await?;
    let spec = json!({ "repo": "files", "changes": [{ "put": { "path": "/large", "url": url } }] });
    let commit = Commit::new("large", serde_json::from_value(spec)?);
    Api::namespaced(client.clone(), namespace).create(&create, &commit).await?;
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let commit = Api::<Commit>::namespaced(client.clone(), namespace).get("large").await?;
        let status = commit.status.unwrap_or_default();
        ensure!(!conditions::holds(&status.conditions, conditions::Type::Stalled), "{:?}", status.conditions);
        let Some(job) = jobs.list(&kube::api::ListParams::default()).await?.items.pop() else { continue };
        let status = job.status.unwrap_or_default();
        ensure!(!conditions::holds(&status.conditions, conditions::Type::Stalled), "{:?}", status.conditions);
        if conditions::holds(&status.conditions, conditions::Type::Ready) {
            return Ok(());
        }
    }
}

/// The highest peak of resident memory, in MiB, of the processes `/varve <command>` on this machine; 0 without one.
pub(crate) fn peaks(command: &str) -> Result<u64> {
    highest(command, "VmHWM:")
}

/// The most resident memory, in MiB, that a process `/varve <command>` on this machine holds now; 0 without one.
pub(crate) fn resident(command: &str) -> Result<u64> {
    highest(command, "VmRSS:")
}

fn highest(command: &str, field: &str) -> Result<u64> {
    let line = format!("/varve\0{command}");
    let mut highest = 0;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let path = process.path();
        let is_ours = std::fs::read(path.join("cmdline")).is_ok_and(|seen| seen.starts_with(line.as_bytes()));
        if is_ours {
            highest = mebibytes(&path, field).unwrap_or_default().max(highest);
        }
    }
    Ok(highest)
}

/// What this field of a process's status says, in MiB; none if it has just ended.
fn mebibytes(process: &Path, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.div_ceil(1024))
}
