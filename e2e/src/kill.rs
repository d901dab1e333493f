//! Ends processes of pods as nothing else does, SIGKILL, and looks at what they see: from the machine that all nodes of the
//! test cluster run on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use varve_api::pod::SHIM_COMMAND;

/// How the keeper's command line begins.
const KEEPER: &str = "/varve\0keeper\0";

/// The leading operator's process.
pub async fn operator(client: &Client) -> Result<()> {
    process(&leader(client).await?, "/varve\0controller\0")
}

/// The leading operator's pod.
pub async fn leader(client: &Client) -> Result<Pod> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "varve-system");
    let holder = leases.get("varve-controller").await?.spec.and_then(|s| s.holder_identity).context("a leader")?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "varve-system");
    let all = pods.list(&ListParams::default()).await?;
    all.items.into_iter().find(|pod| holder.starts_with(&pod.name_any())).context("the leader's pod")
}

/// The keeper of a Job's pod.
pub fn keeper(pod: &Pod) -> Result<()> {
    process(pod, KEEPER)
}

/// The shim of a Job's pod: the first process of the user's container, and so the whole container.
pub fn shim(pod: &Pod) -> Result<()> {
    process(pod, SHIM_COMMAND)
}

/// A file as the keeper of a Job's pod sees it, by its path without a leading slash.
pub fn file_of_keeper(pod: &Pod, path: &str) -> Result<String> {
    let file = Path::new("/proc").join(find(pod, KEEPER)?).join("root").join(path);
    std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
}

fn process(pod: &Pod, line: &str) -> Result<()> {
    let pid = find(pod, line)?;
    ensure!(Command::new("kill").args(["-9", &pid]).status()?.success(), "kill {pid}");
    Ok(())
}

/// A pod's process whose command line begins so.
fn find(pod: &Pod, line: &str) -> Result<String> {
    let uid = pod.uid().context("a uid")?;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        let is_meant = pid.bytes().all(|b| b.is_ascii_digit())
            && std::fs::read_to_string(process.path().join("cgroup"))
                .is_ok_and(|groups| groups.contains(&uid) || groups.contains(&uid.replace('-', "_")))
            && std::fs::read(process.path().join("cmdline")).is_ok_and(|own| own.starts_with(line.as_bytes()));
        if is_meant {
            return Ok(pid);
        }
    }
    bail!("no process {line:?} of pod {} (uid {uid}) is on this machine", pod.name_any())
}
