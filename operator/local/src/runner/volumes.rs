//! A pod's volumes as folders: `emptyDir`, and Secrets and `ConfigMap`s as files.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume};
use varve_api::pod::{IMPORT_PATH, STORE_VOLUME};

use super::env::{Contents, Source};
use super::folder::PodFolder;
use super::inside::Mount;

/// Why a volume can't be had: the kubelet's words for its `FailedMount` Event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
pub(crate) struct VolumeError {
    volume: String,
    why: String,
}

/// The Secret or `ConfigMap` that a volume is made of, and whether it may be missing.
fn source(volume: &Volume) -> Option<(Source, bool)> {
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        return Some((Source::Secret(name), secret.optional == Some(true)));
    }
    let map = volume.config_map.as_ref()?;
    Some((Source::ConfigMap(map.name.clone()), map.optional == Some(true)))
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The Secrets and `ConfigMap`s that a pod's volumes are made of.
pub(crate) fn sources(pod: &Pod) -> BTreeSet<Source> {
    volumes(pod).filter_map(source).map(|(source, _)| source).collect()
}

/// Makes the folders. Files of Secrets are readable to us alone, those of others to all where `is_shared`: a container
/// may run as another user. The pod's own folder is closed to the machine's other users anyway.
pub(crate) fn make(pod: &Pod, folder: &PodFolder, contents: &Contents, is_shared: bool) -> Result<(), VolumeError> {
    for volume in volumes(pod) {
        let failed = |why: String| VolumeError { volume: volume.name.clone(), why };
        let at = folder.volume(&volume.name);
        let mode = if is_shared && volume.name != STORE_VOLUME { 0o755 } else { 0o700 };
        let Some((source, is_optional)) = source(volume) else {
            if volume.empty_dir.is_none() {
                return Err(failed("a volume must be emptyDir, secret or configMap here".to_owned()));
            }
            make_folder(&at, 0o777).map_err(|error| failed(error.to_string()))?;
            continue;
        };
        make_folder(&at, mode).map_err(|error| failed(error.to_string()))?;
        let Some(keys) = contents.get(&source) else {
            if is_optional {
                continue;
            }
            return Err(failed(source.missing()));
        };
        let items = volume.secret.as_ref().and_then(|secret| secret.items.as_ref());
        let items = items.or_else(|| volume.config_map.as_ref()?.items.as_ref());
        for (key, path) in files(keys.keys(), items.map(Vec::as_slice)) {
            let Some(value) = keys.get(key) else {
                return Err(failed(format!("references non-existent secret key: {key}")));
            };
            let path = below(&at, &path).ok_or_else(|| failed(format!("path {path} leads out of the volume")))?;
            write(&path, value, mode).map_err(|error| failed(error.to_string()))?;
        }
    }
    link_imports(pod, folder).map_err(|error| VolumeError { volume: "import".to_owned(), why: error.to_string() })
}

/// Each key and the file it becomes.
fn files<'a>(all: impl Iterator<Item = &'a String>, items: Option<&'a [KeyToPath]>) -> Vec<(&'a str, String)> {
    match items {
        Some(items) => items.iter().map(|item| (item.key.as_str(), item.path.clone())).collect(),
        None => all.map(|key| (key.as_str(), key.clone())).collect(),
    }
}

fn make_folder(at: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(at)?;
    fs::set_permissions(at, fs::Permissions::from_mode(mode)) // whatever the umask
}

fn write(path: &Path, value: &[u8], folder_mode: u32) -> io::Result<()> {
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(folder_mode).create(above)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(folder_mode & 0o666).open(path)?;
    file.write_all(value)
}

/// A path below a folder; none if it leads elsewhere.
fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)).then(|| folder.join(path))
}

/// Where a container sees what.
pub(crate) fn mounts(container: &Container, folder: &PodFolder) -> Result<Vec<Mount>, String> {
    let mounts = container.volume_mounts.iter().flatten().map(|mount| {
        let volume = folder.volume(&mount.name);
        let from = match mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            None => volume,
            Some(path) => below(&volume, path).ok_or_else(|| format!("subPath {path} leads out of its volume"))?,
        };
        if !from.exists() {
            DirBuilder::new().recursive(true).mode(0o755).create(&from).map_err(|error| error.to_string())?;
        }
        let to = PathBuf::from(&mount.mount_path);
        Ok(Mount { from, to, is_read_only: mount.read_only == Some(true) })
    });
    mounts.collect()
}

/// An import pod has its Secrets in one folder, by their names.
fn link_imports(pod: &Pod, folder: &PodFolder) -> io::Result<()> {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter());
    for mount in containers.flat_map(|container| container.volume_mounts.iter().flatten()) {
        let Some(secret) = mount.mount_path.strip_prefix(IMPORT_PATH) else { continue };
        let Some(link) = below(&folder.imports(), secret.trim_start_matches('/')) else { continue };
        fs::create_dir_all(folder.imports())?;
        match std::os::unix::fs::symlink(folder.volume(&mount.name), link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn pod(volumes: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": {}, "spec": { "volumes": volumes, "containers": [{
            "name": "import", "volumeMounts": [{ "name": "key", "mountPath": "/var/run/varve/import/bucket-key" }] }] } }))
        .unwrap()
    }

    fn contents() -> Contents {
        let keys = BTreeMap::from([("id".to_owned(), b"AK".to_vec()), ("secret".to_owned(), b"s3".to_vec())]);
        BTreeMap::from([(Source::Secret("bucket-key".into()), keys)])
    }

    #[test]
    fn a_secret_becomes_files_that_only_we_can_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = PodFolder::of(root.path(), "u-1");
        let pod = pod(&json!([{ "name": "key", "secret": { "secretName": "bucket-key",
            "items": [{ "key": "id", "path": "as/name" }] } }]));
        make(&pod, &folder, &contents(), false).unwrap();
        let file = folder.volume("key").join("as/name");
        assert_eq!(fs::read_to_string(&file).unwrap(), "AK");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.volume("key").join("secret").exists());
        assert_eq!(fs::read_to_string(folder.imports().join("bucket-key/as/name")).unwrap(), "AK");
    }

    #[test]
    fn a_volume_that_cannot_be_had_is_told_in_the_kubelets_words() {
        let root = tempfile::tempdir().unwrap();
        let folder = PodFolder::of(root.path(), "u-1");
        let secret = pod(&json!([{ "name": "key", "secret": { "secretName": "none" } }]));
        let words = make(&secret, &folder, &contents(), false).unwrap_err().to_string();
        assert_eq!(words, "MountVolume.SetUp failed for volume \"key\" : secret \"none\" not found");
        let out = pod(&json!([{ "name": "key", "secret": { "secretName": "bucket-key",
            "items": [{ "key": "id", "path": "../id" }] } }]));
        assert!(make(&out, &folder, &contents(), false).unwrap_err().to_string().contains("leads out of the volume"));
    }
}
