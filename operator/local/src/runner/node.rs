//! This machine as a Node.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::schedule::{Amounts, Facts};

/// As many pods as a kubelet takes.
const MAX_PODS: u64 = 110;

/// What the scheduler may give away.
pub(crate) fn facts(name: &str, slots: NonZeroUsize) -> Facts {
    let allocatable: Amounts = [
        ("cpu", (slots.get() as u64).saturating_mul(1000)),
        ("memory", memory_bytes().saturating_mul(1000)),
        ("pods", MAX_PODS * 1000),
    ]
    .map(|(name, amount)| (name.to_owned(), amount))
    .into();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = [
        ("kubernetes.io/arch", architecture),
        ("beta.kubernetes.io/arch", architecture),
        ("kubernetes.io/os", std::env::consts::OS),
        ("kubernetes.io/hostname", name),
    ];
    Facts { allocatable, labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into() }
}

/// What the kernel says that there is.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}

/// The Node, with its status.
pub(crate) fn node(name: &str, facts: &Facts, runner: &str) -> Node {
    let now = Time(Timestamp::now());
    let amounts = facts.allocatable.iter().map(|(name, amount)| (name.clone(), Quantity((amount / 1000).to_string())));
    let amounts: BTreeMap<String, Quantity> = amounts.collect();
    let system = NodeSystemInfo {
        architecture: facts.labels.get("kubernetes.io/arch").cloned().unwrap_or_default(),
        operating_system: std::env::consts::OS.to_owned(),
        kernel_version: rustix::system::uname().release().to_string_lossy().into_owned(),
        os_image: os_image(),
        container_runtime_version: format!("{runner}://{}", env!("CARGO_PKG_VERSION")),
        kubelet_version: format!("varve-{}", env!("CARGO_PKG_VERSION")),
        ..NodeSystemInfo::default()
    };
    let ready = NodeCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: Some("KubeletReady".to_owned()),
        message: Some("varve dev runs pods here".to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    let status = NodeStatus {
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(vec![ready]),
        node_info: Some(system),
        ..NodeStatus::default()
    };
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), labels: Some(facts.labels.clone()), ..ObjectMeta::default() };
    Node { metadata, status: Some(status), ..Node::default() }
}

/// Writes the Node, or what is new of it.
pub(crate) async fn announce(client: Client, node: Node) -> kube::Result<()> {
    let api = Api::<Node>::all(client);
    let name = node.metadata.name.clone().unwrap_or_default();
    match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let labels = json!({ "metadata": { "labels": node.metadata.labels } });
            api.patch(&name, &PatchParams::default(), &Patch::Merge(labels)).await?;
        }
        made => drop(made?),
    }
    let status = json!({ "status": node.status });
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
}

/// As the system calls itself.
fn os_image() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}
