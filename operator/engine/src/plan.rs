//! What decides a datum's result, and how datums are cut into shards.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::Range;

use varve_api::conditions::Reason;
use varve_api::job::Snapshot;
use varve_api::pipeline::{Container, PipelineSpec};
use varve_format::records::{Task, TaskInput};
use varve_format::{EnvFromSource, EnvSource, Hash, SpecDigest};

/// What a datum weighs besides its bytes: starting a process and moving its folders takes about as long as fetching
/// this much. So a thousand empty files are spread as well as a thousand large ones.
pub const DATUM_BYTES: u64 = 64 << 10;

/// How an input is given to the code. The only way there is in this version: real files.
const MODE: &str = "files";

/// Splits the datums of a plan into shards of about equal input bytes.
///
/// Equal bytes, not equal counts: one huge datum would otherwise hold a GPU while the other shards sit idle. Order is
/// kept, so a retry of the same plan reads the same bytes.
///
/// Returns at most `slots` ranges of indices into `sizes`, none of them empty, that cover it in order.
#[must_use]
pub fn split_by_bytes(sizes: &[u64], slots: NonZeroU32) -> Vec<Range<usize>> {
    let weight = |size: u64| u128::from(size) + u128::from(DATUM_BYTES);
    let total: u128 = sizes.iter().copied().map(weight).sum();
    let slots = sizes.len().min(slots.get() as usize);
    let mut shards: Vec<Range<usize>> = Vec::with_capacity(slots);
    let (mut start, mut done) = (0, 0_u128);
    for (index, &size) in sizes.iter().enumerate() {
        done += weight(size);
        let closed = shards.len() + 1;
        let is_full = done * slots as u128 >= total * closed as u128;
        let (datums_left, shards_left) = (sizes.len() - index - 1, slots - closed);
        if shards_left > 0 && (is_full || datums_left == shards_left) {
            shards.push(start..index + 1);
            start = index + 1;
        } else if datums_left == 0 {
            shards.push(start..sizes.len());
        }
    }
    shards
}

/// ConfigMaps that a Pipeline names, by name; what isn't there is left out.
pub type ConfigMaps = BTreeMap<String, ConfigMapContent>;

/// What a ConfigMap holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigMapContent {
    /// Texts by key.
    pub data: BTreeMap<String, String>,
    /// Bytes by key.
    pub binary_data: BTreeMap<String, Vec<u8>>,
}

impl ConfigMapContent {
    /// The bytes of a key.
    pub fn find(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(String::as_bytes).or_else(|| self.binary_data.get(key).map(Vec::as_slice))
    }

    /// Its keys, those of texts first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.keys().chain(self.binary_data.keys()).map(String::as_str)
    }
}

/// The names of the ConfigMaps whose contents [`spec_digest`] needs.
pub fn config_maps_needed(spec: &PipelineSpec) -> BTreeSet<String> {
    let container = &spec.container;
    let env = container.env.iter().filter_map(|env| env.value_from.as_ref()?.config_map_key_ref.as_ref());
    let env_from = container.env_from.iter().filter_map(|from| from.config_map_ref.as_ref());
    let mut names: BTreeSet<String> =
        env.map(|from| from.name.clone()).chain(env_from.map(|from| from.name.clone())).collect();
    let mounted: BTreeSet<&str> = container.volume_mounts.iter().map(|mount| mount.name.as_str()).collect();
    let volumes = spec.pod.iter().flat_map(|pod| &pod.volumes).filter(|volume| mounted.contains(volume.name.as_str()));
    for volume in volumes {
        names.extend(volume.config_map.iter().map(|source| source.name.clone()));
    }
    names
}

/// What decides a datum's result besides its inputs, for a Job's snapshot.
pub fn spec_digest(snapshot: &Snapshot, config_maps: &ConfigMaps) -> Result<SpecDigest, PlanError> {
    let container = &snapshot.spec.container;
    let mut digest = SpecDigest {
        image_config_digest: snapshot.image.identity().to_owned(),
        command: container.command.clone(),
        args: container.args.clone(),
        working_dir: container.working_dir.clone(),
        env: environment(container, config_maps)?,
        env_from: environment_from(container, config_maps)?,
        accept_exit_codes: snapshot.spec.datum.accept_exit_codes.iter().copied().collect(),
        inputs: snapshot
            .spec
            .inputs
            .iter()
            .filter(|input| input.glob.is_some())
            .map(|input| (input.name.clone(), (input.mount().to_owned(), MODE.to_owned())))
            .collect(),
        ..SpecDigest::default()
    };
    add_mounts(&mut digest, &snapshot.spec, config_maps)?;
    Ok(digest)
}

fn environment(container: &Container, config_maps: &ConfigMaps) -> Result<Vec<(String, EnvSource)>, PlanError> {
    let mut env = Vec::with_capacity(container.env.len());
    for variable in &container.env {
        let Some(from) = &variable.value_from else {
            let value = variable.value.clone().unwrap_or_default();
            env.push((variable.name.clone(), EnvSource::Literal(value)));
            continue;
        };
        let source = if let Some(secret) = &from.secret_key_ref {
            EnvSource::Secret { name: secret.name.clone(), key: secret.key.clone() }
        } else if let Some(key) = &from.config_map_key_ref {
            match content(config_maps, &key.name, Some(&key.key), key.optional)? {
                Some(map) => EnvSource::ConfigMap(map.data.get(&key.key).cloned().unwrap_or_default()),
                None => continue, // optional and absent: the variable isn't set
            }
        } else if let Some(field) = &from.field_ref {
            EnvSource::Field(field.field_path.clone())
        } else {
            EnvSource::Literal(String::new())
        };
        env.push((variable.name.clone(), source));
    }
    Ok(env)
}

fn environment_from(
    container: &Container,
    config_maps: &ConfigMaps,
) -> Result<Vec<(String, EnvFromSource)>, PlanError> {
    let mut sources = Vec::with_capacity(container.env_from.len());
    for from in &container.env_from {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(secret) = &from.secret_ref {
            sources.push((prefix, EnvFromSource::Secret(secret.name.clone())));
        } else if let Some(map) = &from.config_map_ref
            && let Some(content) = content(config_maps, &map.name, None, map.optional)?
        {
            sources.push((prefix, EnvFromSource::ConfigMap(content.data.clone())));
        }
    }
    Ok(sources)
}

/// Volumes that the container mounts, as far as they hold ConfigMaps and Secrets.
fn add_mounts(digest: &mut SpecDigest, spec: &PipelineSpec, config_maps: &ConfigMaps) -> Result<(), PlanError> {
    let volumes: BTreeMap<&str, _> =
        spec.pod.iter().flat_map(|pod| &pod.volumes).map(|volume| (volume.name.as_str(), volume)).collect();
    for mount in &spec.container.volume_mounts {
        let Some(volume) = volumes.get(mount.name.as_str()) else { continue };
        let sub_path = mount.sub_path.as_deref().unwrap_or_default();
        let place =
            if sub_path.is_empty() { mount.mount_path.clone() } else { format!("{}#{sub_path}", mount.mount_path) };
        if let Some(source) = &volume.config_map
            && let Some(map) = content(config_maps, &source.name, None, source.optional)?
        {
            let hash = |key: &str| Hash::of_content(map.find(key).unwrap_or_default());
            let files: BTreeMap<String, Hash> = match &source.items {
                Some(items) => items.iter().map(|item| (item.path.clone(), hash(&item.key))).collect(),
                None => map.keys().map(|key| (key.to_owned(), hash(key))).collect(),
            };
            digest.config_maps.insert(place.clone(), files);
        }
        if let Some(secret) = &volume.secret {
            let keys = secret.items.iter().flatten().map(|item| item.key.clone()).collect();
            digest.secrets.insert(place, (secret.secret_name.clone().unwrap_or_default(), keys));
        }
    }
    Ok(())
}

/// A ConfigMap's content; none where it or its key is absent and may be.
fn content<'a>(
    config_maps: &'a ConfigMaps,
    name: &str,
    key: Option<&str>,
    optional: Option<bool>,
) -> Result<Option<&'a ConfigMapContent>, PlanError> {
    let found = config_maps.get(name);
    let missing = match (found, key) {
        (None, _) => PlanError::ConfigMapNotFound { name: name.to_owned() },
        (Some(map), Some(key)) if map.find(key).is_none() => {
            PlanError::ConfigMapKeyNotFound { name: name.to_owned(), key: key.to_owned() }
        }
        _ => return Ok(found),
    };
    if optional == Some(true) { Ok(None) } else { Err(missing) }
}

/// What the shim is told to run, and under which names the code finds its inputs.
///
/// `commits` gives each input's commit uid by the input's name.
pub fn task(
    job: &str,
    snapshot: &Snapshot,
    commits: &BTreeMap<String, String>,
    output_commit: &str,
) -> Result<Task, PlanError> {
    let datum = &snapshot.spec.datum;
    let leaves = snapshot.spec.inputs.iter().filter(|input| input.glob.is_some());
    let mut inputs: Vec<TaskInput> = leaves
        .map(|input| TaskInput {
            name: input.name.clone(),
            mount: input.mount().to_owned(),
            commit: commits.get(&input.name).cloned().unwrap_or_default(),
        })
        .collect();
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Task {
        argv: argv(snapshot)?,
        working_dir: working_dir(snapshot),
        tries: datum.tries,
        timeout_seconds: datum.timeout_seconds.unwrap_or(0).into(),
        accept_exit_codes: datum.accept_exit_codes.clone(),
        inputs,
        job_name: job.to_owned(),
        output_commit: output_commit.to_owned(),
    })
}

/// Program and arguments, as Kubernetes would put them together: a command replaces the entrypoint and drops the
/// image's arguments, arguments replace the image's.
pub fn argv(snapshot: &Snapshot) -> Result<Vec<String>, PlanError> {
    let (container, image) = (&snapshot.spec.container, &snapshot.image);
    let mut words = container.command.clone().unwrap_or_else(|| image.entrypoint.clone());
    match (&container.args, &container.command) {
        (Some(args), _) => words.extend(args.iter().cloned()),
        (None, None) => words.extend(image.cmd.iter().cloned()),
        (None, Some(_)) => {}
    }
    if words.is_empty() { Err(PlanError::NothingToRun { image: image.reference.clone() }) } else { Ok(words) }
}

/// Where the command is started.
pub fn working_dir(snapshot: &Snapshot) -> String {
    let own = snapshot.spec.container.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let image = snapshot.image.working_dir.as_deref().filter(|dir| !dir.is_empty());
    own.or(image).unwrap_or("/").to_owned()
}

/// Why a Job can't be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A ConfigMap is not there.
    #[error("ConfigMap {name} is not there: create it, or take it out of the Pipeline's container and volumes")]
    ConfigMapNotFound {
        /// Its name.
        name: String,
    },
    /// A ConfigMap has no such key.
    #[error("ConfigMap {name} has no key {key}: add it, or correct the Pipeline's env")]
    ConfigMapKeyNotFound {
        /// The ConfigMap.
        name: String,
        /// The key.
        key: String,
    },
    /// Neither the spec nor the image says what to run.
    #[error(
        "nothing says what to run: image {image} has no entrypoint that is known, so container.command must be set"
    )]
    NothingToRun {
        /// The image.
        image: String,
    },
}

impl PlanError {
    /// The word for conditions, Events and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ConfigMapNotFound { .. } => Reason::ConfigMapNotFound,
            Self::ConfigMapKeyNotFound { .. } => Reason::ConfigMapKeyNotFound,
            Self::NothingToRun { .. } => Reason::ImageEntrypointUnknown,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
