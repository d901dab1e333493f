//! The init container: lays out the shared volume and copies the shim into it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use varve_api::pod;

use crate::pod::layout::Layout;
use crate::pod::{ENV_INSTALL_SHIM, ENV_VOLUME};

/// Where the shim is taken from and where the shared volume is.
#[derive(Debug)]
pub struct Install {
    /// The shim in our image.
    pub shim: PathBuf,
    /// The shared volume.
    pub volume: PathBuf,
    /// The folder of the [`pod::NAME_FILES`]: `/etc`.
    pub names: PathBuf,
}

impl Install {
    /// As in a pod; the environment moves both for tests and other runners.
    pub fn from_env() -> Self {
        let path = |name: &str, default: String| std::env::var_os(name).map_or_else(|| default.into(), PathBuf::from);
        Self {
            shim: path(ENV_INSTALL_SHIM, format!("/{}", pod::SHIM)),
            volume: path(ENV_VOLUME, pod::VOLUME_PATH.to_owned()),
            names: PathBuf::from("/etc"),
        }
    }

    /// Lays out the volume. Run again after a crash, it does the same again.
    pub fn run(&self) -> io::Result<()> {
        lay_out(&self.volume)?;
        let ctl = Layout::at(&self.volume).ctl();
        let to = ctl.join(pod::SHIM);
        copy(&self.shim, &to, 0o555)?;
        for name in pod::NAME_FILES {
            match copy(&self.names.join(name), &ctl.join(name), 0o444) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // a machine without it needs no copy
                done => done?,
            }
        }
        Ok(())
    }
}

/// Makes the folders of the shared volume, without the shim: enough where user code runs in no image.
pub fn lay_out(volume: &Path) -> io::Result<()> {
    Layout::at(volume).create().map_err(|error| doing(&format!("lay out {}", volume.display()), &error))
}

/// Copies under another name first, so that no half-written program can ever be started.
fn copy(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let partial = to.with_extension("partial");
    let copied = fs::copy(from, &partial)
        .and_then(|_| fs::set_permissions(&partial, Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&partial, to));
    copied.map_err(|error| doing(&format!("copy {} to {}", from.display(), to.display()), &error))
}

fn doing(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_twice_leaves_the_same_executable_shim() {
        let root = tempfile::tempdir().unwrap();
        let shim = root.path().join("image-shim");
        fs::write(&shim, "a program").unwrap();
        for name in pod::NAME_FILES {
            fs::write(root.path().join(name), name).unwrap();
        }
        let install = Install { shim, volume: root.path().join("volume"), names: root.path().to_owned() };
        fs::create_dir(&install.volume).unwrap();
        install.run().unwrap();
        install.run().unwrap();
        let installed = install.volume.join("ctl/varve-shim");
        assert_eq!(fs::read_to_string(&installed).unwrap(), "a program");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o555);
        for name in pod::NAME_FILES {
            assert_eq!(fs::read_to_string(install.volume.join("ctl").join(name)).unwrap(), name);
        }
    }
}
