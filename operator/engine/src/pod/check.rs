//! What a Pipeline may not ask of its pods.
//!
//! The schema refuses most of it already; this is the second lock, by allow-list, for objects that came past it, and
//! the only one for what a schema can't see: what is in an overlay, and Secrets that are stores'.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Volume, VolumeMount};
use varve_api::conditions::Reason;
use varve_api::pipeline::PipelineSpec;
use varve_api::pod;

use super::overlay;

/// Names of volumes that are ours.
const OWN_VOLUMES: [&str; 3] = [pod::VOLUME, pod::STORE_VOLUME, pod::TMP_VOLUME];
/// Folders in the user's container that are ours.
const OWN_FOLDERS: [&str; 2] = [pod::PFS_PATH, pod::CTL_PATH];

/// A Secret that a Pipeline's pods would read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// The Secret.
    pub name: String,
    /// The field of the Pipeline that names it.
    pub field: &'static str,
    /// Whether no pod starts without it.
    pub is_needed: bool,
}

/// The Secrets that a Pipeline's pods would read, its overlay's among them.
pub fn secrets(spec: &PipelineSpec) -> Result<Vec<SecretUse>, PodError> {
    let settings = spec.pod.clone().unwrap_or_default();
    let container = Container {
        name: pod::USER.to_owned(),
        env: Some(spec.container.env.clone()),
        env_from: Some(spec.container.env_from.clone()),
        ..Container::default()
    };
    let asked = PodSpec {
        containers: vec![container],
        volumes: Some(settings.volumes),
        image_pull_secrets: Some(settings.image_pull_secrets),
        ..PodSpec::default()
    };
    let merged = overlay::merged(&PodTemplateSpec { metadata: None, spec: Some(asked) }, spec)?;
    Ok(merged.spec.iter().flat_map(secrets_of).collect())
}

/// Every place of a pod that names a Secret, of what [`check_volume`] and the overlay's list let through.
fn secrets_of(pod: &PodSpec) -> Vec<SecretUse> {
    let found = |name: &str, field, optional: Option<bool>| SecretUse {
        name: name.to_owned(),
        field,
        is_needed: optional != Some(true),
    };
    let mut all = Vec::new();
    for secret in pod.image_pull_secrets.iter().flatten() {
        all.push(found(&secret.name, "pod.imagePullSecrets", None));
    }
    for volume in pod.volumes.iter().flatten() {
        if let Some(secret) = &volume.secret {
            all.extend(secret.secret_name.iter().map(|name| found(name, "pod.volumes", secret.optional)));
        }
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            all.extend(source.secret.iter().map(|secret| found(&secret.name, "pod.overlay", secret.optional)));
        }
        if let Some(csi) = &volume.csi {
            all.extend(csi.node_publish_secret_ref.iter().map(|secret| found(&secret.name, "pod.overlay", None)));
            // Drivers have attributes of their own by which they take Secrets; what else is in them is no Secret.
            let attributes = csi.volume_attributes.iter().flat_map(std::collections::BTreeMap::values);
            all.extend(attributes.map(|value| found(value, "pod.overlay", Some(true))));
        }
    }
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    for container in containers {
        for from in container.env_from.iter().flatten() {
            all.extend(from.secret_ref.iter().map(|secret| found(&secret.name, "container.envFrom", secret.optional)));
        }
        for env in container.env.iter().flatten() {
            let key = env.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
            all.extend(key.map(|key| found(&key.name, "container.env", key.optional)));
        }
    }
    all
}

/// Whether the pods that `spec` asks for may be. `store_secrets` are Secrets of the namespace labelled as stores'.
pub fn check(spec: &PipelineSpec, store_secrets: &BTreeSet<String>) -> Result<(), PodError> {
    for volume in spec.pod.iter().flat_map(|pod| &pod.volumes) {
        check_volume(volume)?;
    }
    let volumes = overlay::volumes(spec)?;
    if let Some(secret) = secrets(spec)?.into_iter().find(|secret| store_secrets.contains(&secret.name)) {
        return Err(PodError::StoreSecret { name: secret.name, field: secret.field });
    }
    for mount in &spec.container.volume_mounts {
        check_mount(mount, &volumes)?;
    }
    // The code finds an input under its name and under its mount.
    let inputs: BTreeSet<&str> = spec.inputs.iter().flat_map(|input| [input.name.as_str(), input.mount()]).collect();
    for variable in &spec.container.env {
        check_variable(&variable.name, &inputs)?;
    }
    Ok(())
}

/// ConfigMaps, Secrets, empty directories and claims; nothing of the host, no tokens, nothing that we don't know.
fn check_volume(volume: &Volume) -> Result<(), PodError> {
    let name = volume.name.clone();
    if OWN_VOLUMES.contains(&name.as_str()) {
        return Err(PodError::VolumeName { name });
    }
    let Volume { name: _, config_map, secret, empty_dir, persistent_volume_claim, .. } = volume;
    let known = Volume {
        name: name.clone(),
        config_map: config_map.clone(),
        secret: secret.clone(),
        empty_dir: empty_dir.clone(),
        persistent_volume_claim: persistent_volume_claim.clone(),
        ..Volume::default()
    };
    if *volume == known { Ok(()) } else { Err(PodError::VolumeKind { name }) }
}

fn check_mount(mount: &VolumeMount, volumes: &BTreeSet<String>) -> Result<(), PodError> {
    let (name, path) = (mount.name.clone(), mount.mount_path.clone());
    if !volumes.contains(&name) {
        return Err(PodError::MountOfNothing { name });
    }
    if is_own_path(&path) || mount.mount_propagation.is_some() {
        return Err(PodError::MountPath { path });
    }
    Ok(())
}

/// Whether what is mounted at `path` would lie in our folders, over them, or who knows where.
pub(super) fn is_own_path(path: &str) -> bool {
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."));
    let normal = format!("/{}", path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
    let touches = |own: &&str| {
        let is_within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        is_within(&normal, own) || is_within(own, &normal) || normal == "/"
    };
    !is_plain || OWN_FOLDERS.iter().any(touches)
}

fn check_variable(name: &str, inputs: &BTreeSet<&str>) -> Result<(), PodError> {
    let is_ours = name.starts_with("VARVE_")
        || name.starts_with("PACH_")
        || name == pod::ENV_INDEX
        || inputs.contains(name)
        || name.strip_suffix("_COMMIT").is_some_and(|input| inputs.contains(input));
    if is_ours { Err(PodError::Variable { name: name.to_owned() }) } else { Ok(()) }
}

/// Something that a Pipeline's pods may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// A Secret that holds a store's credentials.
    #[error(
        "{field} may not name Secret {name}: it is labelled varve.dev/store, and holds a store's credentials. Use another Secret"
    )]
    StoreSecret {
        /// The Secret.
        name: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A volume named like one of ours.
    #[error("pod.volumes may not name a volume {name}: Varve has one of that name itself")]
    VolumeName {
        /// The volume.
        name: String,
    },
    /// A volume of a kind that is not allowed.
    #[error("volume {name} of pod.volumes must be a configMap, secret, emptyDir or persistentVolumeClaim")]
    VolumeKind {
        /// The volume.
        name: String,
    },
    /// A mount of a volume that isn't there.
    #[error("container.volumeMounts names a volume {name} that is not in pod.volumes: add it there")]
    MountOfNothing {
        /// The volume.
        name: String,
    },
    /// A mount over one of our folders.
    #[error("container.volumeMounts may not mount at {path}: /pfs and /.varve are Varve's own, so mount elsewhere")]
    MountPath {
        /// The path.
        path: String,
    },
    /// A variable that Varve sets.
    #[error("container.env may not set {name}: Varve sets it itself")]
    Variable {
        /// The variable.
        name: String,
    },
    /// A path that an overlay may not have.
    #[error("pod.overlay may not set {path}: docs/reference/overlay.md lists what it may set, and all else is refused")]
    OverlayPath {
        /// The path.
        path: String,
    },
    /// A value that an overlay's path may not have.
    #[error("pod.overlay may set {path} only to this: {takes}; see docs/reference/overlay.md")]
    OverlayValue {
        /// The path.
        path: String,
        /// What it takes.
        takes: &'static str,
    },
    /// An overlay that is no pod template.
    #[error("pod.overlay must have the shape of a pod template, with metadata and spec: {why}")]
    OverlayShape {
        /// What is wrong.
        why: String,
    },
}

impl PodError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::StoreSecret { .. } => Reason::SecretForbidden,
            Self::OverlayPath { .. } | Self::OverlayValue { .. } | Self::OverlayShape { .. } => {
                Reason::OverlayForbidden
            }
            _ => Reason::PodForbidden,
        }
    }
}
