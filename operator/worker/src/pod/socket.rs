//! A socket in a folder of any depth.
//!
//! The address of a Unix socket holds 107 bytes of path. In a pod ours is short; elsewhere the pod's folder lies where
//! somebody's home is. Through a descriptor of its folder every socket has a short name.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The most bytes that a socket's path may have.
const MAX_PATH_BYTES: usize = 107;

/// Does this with the path of a socket, or with a short one that leads to the same.
pub(crate) fn through_folder<T>(socket: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else { return act(socket) };
    if socket.as_os_str().len() <= MAX_PATH_BYTES {
        return act(socket);
    }
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_deep_below_is_bound_and_reached() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep".repeat(30));
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("keeper.sock");
        let listener = through_folder(&socket, |short| UnixListener::bind(short)).unwrap();
        through_folder(&socket, |short| UnixStream::connect(short)).unwrap();
        listener.accept().unwrap();
    }
}
