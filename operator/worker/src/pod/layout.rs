//! The folders of the shared volume, and the renames that pass a datum through them.
//!
//! ```text
//! ctl/       0755  the shim and the keeper's socket; the user sees it read-only
//! stage/<n>  0700  inputs being fetched for run n
//! pfs/       0755  what the user sees at /pfs: the inputs of the present run, and `out`
//! done/<n>   0700  what run n left: `pfs/<name>` for all that lay in pfs, `out` among it
//! ```
//!
//! A datum's inputs move `stage/<n>/<mount>` → `pfs/<mount>`, its output `pfs/out` → `done/<n>/out`,
//! all within one file system: no copies, no links, no root. Whatever else the user's code made in
//! `pfs` (it can, where it runs as the keeper's own user) moves out of the way with it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use varve_api::pod::{CTL, DONE, OUT, PFS, STAGE};

/// The shared volume.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`; touches nothing.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn ctl(&self) -> PathBuf {
        self.root.join(CTL)
    }

    pub(crate) fn pfs(&self) -> PathBuf {
        self.root.join(PFS)
    }

    /// Where the inputs of run `n` are fetched to.
    pub(crate) fn stage(&self, run: u64) -> PathBuf {
        self.root.join(STAGE).join(run.to_string())
    }

    /// Where everything that run `n` left lies.
    pub(crate) fn done(&self, run: u64) -> PathBuf {
        self.root.join(DONE).join(run.to_string())
    }

    /// Makes all folders, whatever the umask; a folder that stands is given its mode.
    pub(crate) fn create(&self) -> io::Result<()> {
        for (name, mode) in [(CTL, 0o755), (STAGE, 0o700), (DONE, 0o700), (PFS, 0o755)] {
            make_folder(&self.root.join(name), mode)?;
        }
        self.make_out()
    }

    /// Removes what an earlier life of this container left, so that no run sees another's files.
    pub(crate) fn reset(&self) -> io::Result<()> {
        make_folder(&self.pfs(), 0o755)?;
        for folder in [self.root.join(STAGE), self.root.join(DONE), self.pfs()] {
            for entry in fs::read_dir(&folder)? {
                remove(&entry?.path())?;
            }
        }
        self.make_out()
    }

    /// Clears `pfs` after run `n`, whose outcome nobody wants: the container was killed under it. What can't be removed
    /// is out of the way all the same, and costs disk until the pod ends.
    pub(crate) fn clear(&self, run: u64) -> io::Result<()> {
        let done = self.take(run)?;
        if let Err(error) = remove(&done) {
            tracing::warn!(path = %done.display(), %error, "can't remove what a killed run left");
        }
        Ok(())
    }

    /// Puts staged inputs where the user sees them. `pfs` must hold nothing but an empty `out`.
    pub(crate) fn present(&self, run: u64) -> io::Result<()> {
        let stage = self.stage(run);
        for entry in fs::read_dir(&stage)? {
            let entry = entry?;
            fs::rename(entry.path(), self.pfs().join(entry.file_name()))?;
        }
        fs::remove_dir(&stage)
    }

    /// Takes away all that lies in `pfs` after a run, and lays out a fresh `out`.
    ///
    /// User code may run as the keeper's own user and take away its own right to write to a folder, `pfs` among them.
    /// Moving a folder elsewhere writes to that folder too (its `..`), so what is ours is opened again before.
    pub(crate) fn take(&self, run: u64) -> io::Result<PathBuf> {
        let done = self.done(run);
        make_folder(&done, 0o700)?;
        make_folder(&self.pfs(), 0o755)?;
        for entry in fs::read_dir(self.pfs())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let _ = open_to_owner(&entry.path()); // where it is not ours, moving it says so
            }
            fs::rename(entry.path(), done.join(entry.file_name()))?;
        }
        self.make_out()?;
        Ok(done)
    }

    fn make_out(&self) -> io::Result<()> {
        make_folder(&self.pfs().join(OUT), 0o777)
    }
}

/// Makes a folder with exactly this mode, or gives it to one that stands there.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if fs::symlink_metadata(path)?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Gives a folder's owner full access to it; of a link's target the mode stays as it is.
fn open_to_owner(folder: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&folder)?.st_mode & 0o7777;
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    // No system call changes a mode by such a descriptor, but its name in /proc leads to the very folder.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
}

/// Removes a file or a whole folder, also one whose own folders are read-only.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.is_dir() => fs::remove_file(path),
        Ok(_) => match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                make_writable(path);
                fs::remove_dir_all(path)
            }
            other => other,
        },
    }
}

/// Gives every folder below `path` its owner's full access, where it is ours to give.
fn make_writable(path: &Path) {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::at(root.path());
        layout.create().unwrap();
        (root, layout)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn folders_have_their_modes_whatever_the_umask() {
        let (root, layout) = laid_out();
        let modes = ["ctl", "stage", "done", "pfs", "pfs/out"].map(|name| mode(&root.path().join(name)));
        assert_eq!(modes, [0o755, 0o700, 0o700, 0o755, 0o777]);
        layout.create().unwrap(); // a restarted init container finds them standing
    }

    #[test]
    fn a_run_passes_from_stage_to_pfs_to_done_and_leaves_pfs_clean() {
        let (_root, layout) = laid_out();
        fs::create_dir_all(layout.stage(4).join("images")).unwrap();
        fs::write(layout.stage(4).join("images/a.png"), "in").unwrap();
        layout.present(4).unwrap();
        assert_eq!(fs::read_to_string(layout.pfs().join("images/a.png")).unwrap(), "in");
        fs::write(layout.pfs().join("out/b.png"), "made").unwrap();
        fs::write(layout.pfs().join("stray"), "left").unwrap();
        let done = layout.take(4).unwrap();
        assert_eq!(fs::read_to_string(done.join("out/b.png")).unwrap(), "made");
        let left: Vec<_> = fs::read_dir(layout.pfs()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["out"]);
        assert_eq!(fs::read_dir(layout.pfs().join("out")).unwrap().count(), 0);
    }

    #[test]
    fn an_out_replaced_by_a_link_is_taken_as_the_link_it_is() {
        let (_root, layout) = laid_out();
        fs::remove_dir(layout.pfs().join("out")).unwrap();
        std::os::unix::fs::symlink("/etc", layout.pfs().join("out")).unwrap();
        let done = layout.take(1).unwrap();
        assert!(fs::symlink_metadata(done.join("out")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(layout.pfs().join("out")).unwrap().is_dir());
    }
}
