//! What a program is told by its pod: for whom it works, and where things are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use uuid::Uuid;
use varve_api::pod;
use varve_format::Hash;
use varve_store::backend::Allowed;

use super::{ENV_FIRST_CONTACT_MS, ENV_PFS, ENV_STORE, ENV_VOLUME};

/// Who this keeper is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub job_uid: Uuid,
    pub shard: u32,
    pub pod_uid: Uuid,
    /// The node's name; empty where there is none.
    pub node: String,
}

/// A keeper's settings.
#[derive(Debug)]
pub(crate) struct Config {
    pub identity: Identity,
    pub plan: Hash,
    /// The shared volume.
    pub volume: PathBuf,
    /// Where the user's container sees the volume's `pfs`.
    pub pfs: String,
    /// The keys of the store's Secret.
    pub store: BTreeMap<String, String>,
    /// Where they were read.
    pub store_folder: PathBuf,
    pub allowed: Allowed,
    /// How long the user's container may take to start: its image may be tens of GiB, and is
    /// pulled while we wait.
    pub first_contact: Duration,
    /// Whether Kubernetes starts the user's container again in this pod where it was killed.
    pub restarts_in_place: bool,
}

/// A variable that is missing or makes no sense: the pod was not made by the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("variable {name} must be {must_be}, not {found:?}")]
    Variable { name: &'static str, must_be: &'static str, found: String },
    #[error("read the store's Secret at {path}: {source}")]
    Secret { path: String, source: io::Error },
}

impl Config {
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        let store_folder = path(ENV_STORE, pod::STORE_PATH);
        Ok(Self {
            identity: Identity {
                job_uid: parsed(pod::ENV_JOB_UID, "the uid of the Job")?,
                shard: parsed(pod::ENV_INDEX, "the index of the shard")?,
                pod_uid: parsed(pod::ENV_POD_UID, "the uid of the pod")?,
                node: env::var(pod::ENV_NODE).unwrap_or_default(),
            },
            plan: parsed(pod::ENV_PLAN, "the hash of a plan, 64 hexadecimal digits")?,
            volume: path(ENV_VOLUME, pod::VOLUME_PATH),
            pfs: env::var(ENV_PFS).unwrap_or_else(|_| pod::PFS_PATH.to_owned()),
            store: read_secret(&store_folder)?,
            store_folder,
            allowed: allowed(),
            first_contact: millis(ENV_FIRST_CONTACT_MS, 45 * 60 * 1000),
            restarts_in_place: is_true(pod::ENV_RESTARTS_IN_PLACE),
        })
    }
}

/// What whoever installed the operator allows the store's Secret; the operator hands it on.
pub(crate) fn allowed() -> Allowed {
    Allowed {
        local_stores: is_true(pod::ENV_ALLOW_LOCAL_STORES),
        machine_credentials: is_true(pod::ENV_ALLOW_MACHINE_CREDENTIALS),
    }
}

fn is_true(name: &str) -> bool {
    env::var(name).as_deref() == Ok("true")
}

/// A Secret mounted as files: one for each key. Kubernetes' own links and folders begin with `..`.
pub(crate) fn read_secret(folder: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let read = || -> io::Result<BTreeMap<String, String>> {
        let mut keys = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && entry.path().is_file() {
                keys.insert(name, fs::read_to_string(entry.path())?);
            }
        }
        Ok(keys)
    };
    read().map_err(|source| ConfigError::Secret { path: folder.display().to_string(), source })
}

pub(crate) fn parsed<T: std::str::FromStr>(name: &'static str, must_be: &'static str) -> Result<T, ConfigError> {
    let found = env::var(name).unwrap_or_default();
    found.parse().map_err(|_| ConfigError::Variable { name, must_be, found })
}

pub(crate) fn path(name: &str, default: &str) -> PathBuf {
    env::var_os(name).map_or_else(|| default.into(), PathBuf::from)
}

fn millis(name: &str, default: u64) -> Duration {
    Duration::from_millis(env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default))
}
