//! What a Pipeline may not ask of its pods.
//!
//! The schema refuses most of it already; this is the second lock, by allow-list, for objects that came past it, and
//! the only one for what a schema can't see: Secrets that are stores'.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use varve_api::conditions::Reason;
use varve_api::pipeline::PipelineSpec;
use varve_api::pod;

/// Names of volumes that are ours.
const OWN_VOLUMES: [&str; 3] = [pod::VOLUME, pod::STORE_VOLUME, pod::TMP_VOLUME];
/// Folders in the user's container that are ours.
const OWN_FOLDERS: [&str; 2] = [pod::PFS_PATH, pod::CTL_PATH];

/// The Secrets that a Pipeline's pods would read: the caller looks up which of them are stores'.
pub fn secrets_named(spec: &PipelineSpec) -> BTreeSet<String> {
    let container = &spec.container;
    let env = container.env.iter().filter_map(|env| Some(&env.value_from.as_ref()?.secret_key_ref.as_ref()?.name));
    let env_from = container.env_from.iter().filter_map(|from| Some(&from.secret_ref.as_ref()?.name));
    let pod = spec.pod.iter();
    let volumes =
        pod.clone().flat_map(|pod| &pod.volumes).filter_map(|volume| volume.secret.as_ref()?.secret_name.as_ref());
    let pull = pod.flat_map(|pod| &pod.image_pull_secrets).map(|secret| &secret.name);
    env.chain(env_from).chain(volumes).chain(pull).cloned().collect()
}

/// Whether the pods that `spec` asks for may be. `store_secrets` are Secrets of the namespace labelled as stores'.
pub fn check(spec: &PipelineSpec, store_secrets: &BTreeSet<String>) -> Result<(), PodError> {
    if let Some(name) = secrets_named(spec).intersection(store_secrets).next() {
        return Err(PodError::StoreSecret { name: name.clone() });
    }
    let volumes = spec.pod.iter().flat_map(|pod| &pod.volumes);
    let mut names = BTreeSet::new();
    for volume in volumes {
        check_volume(volume)?;
        names.insert(volume.name.as_str());
    }
    for mount in &spec.container.volume_mounts {
        check_mount(mount, &names)?;
    }
    // The code finds an input under its name and under its mount.
    let inputs: BTreeSet<&str> = spec.inputs.iter().flat_map(|input| [input.name.as_str(), input.mount()]).collect();
    for variable in &spec.container.env {
        check_variable(&variable.name, &inputs)?;
    }
    match spec.container.security_context.as_ref().and_then(|security| security.run_as_user) {
        Some(0) => Err(PodError::Root),
        _ => Ok(()),
    }
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

fn check_mount(mount: &VolumeMount, volumes: &BTreeSet<&str>) -> Result<(), PodError> {
    let (name, path) = (mount.name.clone(), mount.mount_path.clone());
    if !volumes.contains(name.as_str()) {
        return Err(PodError::MountOfNothing { name });
    }
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."));
    let normal = format!("/{}", path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
    let touches = |own: &&str| {
        let is_within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        is_within(&normal, own) || is_within(own, &normal) || normal == "/"
    };
    if !is_plain || OWN_FOLDERS.iter().any(touches) || mount.mount_propagation.is_some() {
        return Err(PodError::MountPath { path });
    }
    Ok(())
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
        "the Pipeline may not use Secret {name}: it is labelled varve.dev/store, and holds a store's credentials. Use another Secret"
    )]
    StoreSecret {
        /// The Secret.
        name: String,
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
    /// The user 0.
    #[error("container.securityContext.runAsUser may not be 0: user code never runs as root")]
    Root,
}

impl PodError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::StoreSecret { .. } => Reason::SecretForbidden,
            _ => Reason::PodForbidden,
        }
    }
}
