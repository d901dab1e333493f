//! The root that a command sees: all of the machine's, and the pod's volumes at their places.
//!
//! `/` itself is a small tmpfs in which everything of the machine's is bound, so that places can be made in it. A
//! place further down is made the same way: the folder above it is covered by a tmpfs with all that lay in it. Nothing
//! is ever made in a folder of the machine's.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::{Inside, Mount, doing};

/// Takes the root as ours. The mount namespace must be our own.
pub(super) fn enter(inside: &Inside) -> io::Result<()> {
    let root = &inside.root;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).map_err(doing("make private", Path::new("/")))?;
    tmpfs(root)?;
    // Else the folder that holds it would show it again, with all that is in it.
    rustix::mount::mount_change(root, MountPropagationFlags::UNBINDABLE).map_err(doing("shut", root))?;
    bind_all(Path::new("/"), root)?;
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".").map_err(doing("make it the root", root))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(doing("leave", Path::new("the old root")))?;
    std::env::set_current_dir("/")?;
    let mut places = Places { ours: BTreeSet::from([PathBuf::from("/")]) };
    for mount in &inside.mounts {
        places.make(&mount.to, mount.from.is_dir())?;
        bind(mount)?;
    }
    Ok(())
}

/// Mounts the `/proc` of the PID namespace that we are process 1 of.
pub(super) fn mount_proc() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("proc", "/proc", "proc", flags, None)?)
}

fn tmpfs(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("varve", at, "tmpfs", flags, Some(c"mode=755")).map_err(doing("mount a tmpfs on", at))
}

/// Binds all that lies in one folder into another that is empty. What may not be bound is left out: the command misses
/// it only if it looks for it.
fn bind_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from).map_err(doing("list", from))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
        } else {
            fs::File::create(&target)?;
        }
        let _ = rustix::mount::mount_bind_recursive(&source, &target);
    }
    Ok(())
}

fn bind(mount: &Mount) -> io::Result<()> {
    rustix::mount::mount_bind_recursive(&mount.from, &mount.to).map_err(doing("bind", &mount.from))?;
    if !mount.is_read_only {
        return Ok(());
    }
    // In a user namespace what holds already for the mount may not be taken away by the way.
    let holds = rustix::fs::statvfs(&mount.to).map_err(doing("look at", &mount.to))?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (held, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if holds.contains(held) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(&mount.to, flags, c"").map_err(doing("make read-only", &mount.to))
}

/// Where things can be mounted.
struct Places {
    /// Folders that are ours to make something in.
    ours: BTreeSet<PathBuf>,
}

impl Places {
    /// Makes an empty folder or file to mount on, unless something stands there.
    fn make(&mut self, path: &Path, is_folder: bool) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        let Some(above) = path.parent() else { return Ok(()) };
        self.make(above, true)?;
        if !self.ours.contains(above) {
            cover(above)?;
            self.ours.insert(above.to_owned());
        }
        if is_folder {
            fs::create_dir(path).map_err(doing("make", path))?;
            self.ours.insert(path.to_owned());
        } else {
            fs::File::create(path).map_err(doing("make", path))?;
        }
        Ok(())
    }
}

/// Covers a folder of the machine's by one of ours in which the same lies.
fn cover(folder: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let covered = rustix::fs::open(folder, flags, Mode::empty()).map_err(doing("open", folder))?;
    tmpfs(folder)?;
    bind_all(Path::new(&format!("/proc/self/fd/{}", covered.as_raw_fd())), folder)
}
