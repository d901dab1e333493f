//! Where the files of a pod lie.
//!
//! ```text
//! pods/<uid>/                          0700
//!   volumes/<name>/                    the pod's volumes
//!   import/<secret>                    links to volumes, as an import pod looks for them
//!   containers/<name>/log              what it printed
//!   containers/<name>/termination-log  its last words
//!   containers/<name>/inside.json      what it sees where
//!   containers/<name>/root/            empty: its root is put together on it
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The most that Kubernetes takes of a container's last words.
const MAX_WORDS_BYTES: usize = 4096;

/// The folder of all pods.
pub(crate) fn pods(folder: &Path) -> PathBuf {
    folder.join("pods")
}

/// One pod's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFolder {
    root: PathBuf,
}

impl PodFolder {
    /// Of the pod with this uid; touches nothing.
    pub(crate) fn of(folder: &Path, uid: &str) -> Self {
        Self { root: pods(folder).join(uid) }
    }

    /// Makes it, with what each of these containers needs.
    pub(crate) fn create<'a>(&self, containers: impl Iterator<Item = &'a str>) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        fs::create_dir_all(self.root.join("volumes"))?;
        for name in containers {
            fs::create_dir_all(self.container(name).join("root"))?;
            File::create(self.termination_log(name))?;
            // A container may run as another user and still say its last words.
            fs::set_permissions(self.termination_log(name), Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    /// Removes it with all that lies in it; user code may have closed folders to us.
    pub(crate) fn remove(&self) {
        if fs::remove_dir_all(&self.root).is_err() && self.root.exists() {
            open_folders(&self.root);
            if let Err(error) = fs::remove_dir_all(&self.root) {
                tracing::warn!(folder = %self.root.display(), %error, "a pod's files can't be removed");
            }
        }
    }

    /// Removes what nobody looks at after the pod's end: its volumes.
    pub(crate) fn keep_logs_only(&self) {
        for folder in [self.root.join("volumes"), self.imports()] {
            if folder.exists() {
                Self { root: folder }.remove();
            }
        }
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    pub(crate) fn imports(&self) -> PathBuf {
        self.root.join("import")
    }

    pub(crate) fn container(&self, name: &str) -> PathBuf {
        self.root.join("containers").join(name)
    }

    pub(crate) fn log(&self, container: &str) -> PathBuf {
        self.container(container).join("log")
    }

    pub(crate) fn termination_log(&self, container: &str) -> PathBuf {
        self.container(container).join("termination-log")
    }

    /// Opens a container's log for it to write to.
    pub(crate) fn open_log(&self, container: &str) -> io::Result<File> {
        fs::OpenOptions::new().append(true).create(true).mode(0o600).open(self.log(container))
    }

    /// A container's last words.
    pub(crate) fn last_words(&self, container: &str) -> Option<String> {
        let mut words = fs::read(self.termination_log(container)).unwrap_or_default();
        words.truncate(MAX_WORDS_BYTES);
        Some(String::from_utf8_lossy(&words).into_owned()).filter(|words| !words.is_empty())
    }
}

fn open_folders(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}
