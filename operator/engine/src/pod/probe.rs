//! The pod that asks a node what an image is, where no registry tells: it may lie on the nodes alone, or in a mirror
//! that only they reach.
//!
//! It runs nothing of the image's, only our shim, which ends at once; what counts is the `imageID` that the node
//! reports. A bare `sha256:…` is the digest of the image's configuration, as it is for images that were imported. Else
//! it is a name with the digest of a manifest or an index, under which the node may keep several tags.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use varve_api::conditions::Reason;
use varve_api::{job::Snapshot, labels, names, pod};
use varve_format::Hash;

use super::containers::{install, own, user};
use super::{Owner, Surroundings, managed, owned_by};
use crate::explain::{Seen, explain};

/// How long a node may take, in seconds: it may have to pull tens of GB first.
const DEADLINE_SECONDS: i64 = 30 * 60;

/// Whose image is asked for.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    /// The Pipeline's name.
    pub pipeline: &'a str,
    /// The Pipeline as it is; of its image the reference alone counts.
    pub snapshot: &'a Snapshot,
    /// The value of the annotation `varve.dev/resolve-image`.
    pub request: Option<String>,
}

impl Probe<'_> {
    /// The name of its pod: another for every generation and request.
    pub fn name(&self) -> String {
        let Snapshot { uid, generation, .. } = self.snapshot;
        let asked = serde_json::json!([uid, generation, self.request]).to_string();
        names::probe_pod(self.pipeline, Hash::of_content(asked.as_bytes()).as_bytes())
    }
}

/// The pod that asks: on the nodes, with the rights and the pull secrets of those that will do the work.
pub fn probe(probe: &Probe<'_>, around: &Surroundings) -> Pod {
    let owner = Owner { kind: "Pipeline", name: probe.pipeline.to_owned(), uid: probe.snapshot.uid.clone() };
    let labels = managed([(labels::PROBE, probe.pipeline.to_owned())]);
    Pod {
        metadata: owned_by(&owner, &around.namespace, probe.name(), &labels, BTreeMap::new()),
        spec: Some(PodSpec {
            init_containers: Some(vec![install(around)]),
            containers: vec![ask(probe.snapshot, around)],
            volumes: Some(vec![super::empty_dir(pod::VOLUME)]),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            ..super::pod_of(probe.snapshot, around)
        }),
        status: None,
    }
}

/// The user's container without anything of the user's but the image and who it runs as.
fn ask(snapshot: &Snapshot, around: &Surroundings) -> Container {
    let user = user(snapshot, around);
    let control = user.volume_mounts.iter().flatten().filter(|mount| mount.mount_path == pod::CTL_PATH);
    Container {
        args: Some(vec!["noop".to_owned()]),
        env: None,
        env_from: None,
        resources: own(pod::USER, around).resources,
        volume_mounts: Some(control.cloned().collect()),
        ..user
    }
}

/// What has come of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The pod is on its way; what holds it, if anything does.
    Pending(Option<String>),
    /// The node knows the image, and calls it so.
    Known(ImageId),
    /// The pod can't say: why.
    Failed(String),
}

/// What a node calls an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageId {
    /// By the digest of its configuration, `sha256:…`.
    Config(String),
    /// By a name that it was pulled by, `host/repository@sha256:…`: the digest is that of a manifest or an index. A node
    /// calls an image so from the moment on that anybody pulled it by a registry's name.
    Name(String),
}

impl ImageId {
    /// `sha256:…`.
    pub fn digest(&self) -> &str {
        match self {
            Self::Config(digest) => digest,
            Self::Name(name) => name.rsplit('@').next().unwrap_or(name),
        }
    }
}

/// What the pod that [`probe`] describes has to say.
pub fn asked(pod: &Pod) -> Asked {
    if let Some(id) = image_id(pod) {
        return Asked::Known(id);
    }
    let is_over = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
    match explain(&Seen { pods: vec![pod], ..Seen::default() }) {
        Some(finding) if matches!(finding.reason, Reason::ImagePullFailed | Reason::PodsCannotStart) => {
            Asked::Failed(finding.message())
        }
        _ if is_over => {
            let status = pod.status.clone().unwrap_or_default();
            let said = status.message.or(status.reason).unwrap_or_else(|| "it has failed".to_owned());
            Asked::Failed(format!("pod {}: {said}", pod.metadata.name.as_deref().unwrap_or_default()))
        }
        finding => Asked::Pending(finding.map(|finding| finding.message())),
    }
}

/// What the pod's node calls the image of the user's container; none before that is made.
pub fn image_id(pod: &Pod) -> Option<ImageId> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let user = containers.iter().find(|container| container.name == pod::USER)?;
    // Some runtimes put a scheme before it.
    let id = user.image_id.split_once("://").map_or(user.image_id.as_str(), |(_, id)| id);
    let told = if id.contains('@') { ImageId::Name } else { ImageId::Config };
    (!id.is_empty()).then(|| told(id.to_owned()))
}
