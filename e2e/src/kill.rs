//! Ends processes of pods as nothing else does: SIGKILL, from the machine that all nodes of the test cluster run on.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use varve_api::pod::{SHIM_COMMAND, VARVE_COMMAND};

/// The leading operator's process.
pub async fn operator(client: &Client) -> Result<()> {
    process(&leader(client).await?, &format!("{VARVE_COMMAND}\0controller\0"))
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
    process(pod, &format!("{VARVE_COMMAND}\0keeper\0"))
}

/// The shim of a Job's pod: the first process of the user's container, and so the whole container.
pub fn shim(pod: &Pod) -> Result<()> {
    process(pod, SHIM_COMMAND)
}

/// A pod's process whose command line begins so.
fn process(pod: &Pod, line: &str) -> Result<()> {
    let uid = pod.uid().context("a uid")?;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        let is_meant = pid.bytes().all(|b| b.is_ascii_digit())
            && std::fs::read_to_string(process.path().join("cgroup"))
                .is_ok_and(|groups| groups.contains(&uid) || groups.contains(&uid.replace('-', "_")))
            && std::fs::read(process.path().join("cmdline")).is_ok_and(|own| own.starts_with(line.as_bytes()));
        if is_meant {
            ensure!(Command::new("kill").args(["-9", &pid]).status()?.success(), "kill {pid}");
            return Ok(());
        }
    }
    bail!("no process {line:?} of pod {} (uid {uid}) is on this machine", pod.name_any())
}
