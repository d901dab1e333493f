//! Opening what user code left, without ever leaving its folder.
//!
//! Every path is opened from the folder's own descriptor by `openat2` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`: neither a link nor `..` nor a folder swapped under our hands leads out.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use varve_format::escape;

/// A folder that user code wrote to.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
}

/// What a path is, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// File, folder, link or something that no tree can hold.
    pub kind: FileType,
    /// The owner's execute bit.
    pub executable: bool,
    /// Length in bytes.
    pub size: u64,
}

impl Beneath {
    /// Opens the folder itself; fails if it is anything else, a link to a folder included.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(root, flags, Mode::empty())? })
    }

    /// What stands at `path`, which is relative and not empty.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Found> {
        let handle = self.handle(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = rustix::fs::statat(&handle, "", AtFlags::EMPTY_PATH)?;
        Ok(Found {
            kind: FileType::from_raw_mode(stat.st_mode),
            executable: stat.st_mode & 0o100 != 0,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
        })
    }

    /// Opens a regular file for reading. Anything else that took its place meanwhile is refused.
    pub(crate) fn file(&self, path: &Path) -> io::Result<File> {
        // NONBLOCK: opening a FIFO that took the file's place would wait for its writer.
        let file = File::from(self.handle(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }

    /// The target of a link, verbatim.
    pub(crate) fn link_target(&self, path: &Path) -> io::Result<Vec<u8>> {
        let handle = self.handle(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(&handle, "", Vec::new())?.into_bytes())
    }

    /// The names in a folder, in no order; `""` is the root.
    pub(crate) fn names(&self, path: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let entries = Dir::new(self.handle(path, flags)?)?;
        Ok(entries.filter_map(|entry| match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                (name != b"." && name != b"..").then(|| Ok(OsString::from_vec(name.to_vec())))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    fn handle(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }
}

/// The word for a kind of file that no tree can hold.
pub(crate) fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Unknown => "of an unknown kind",
    }
}

/// A name for messages: line breaks, and bytes that are no text, are shown as escapes.
pub(crate) fn shown(path: impl AsRef<OsStr>) -> String {
    escape(path.as_ref().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn neither_links_nor_dots_lead_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(root.path().join("secret"), "s").unwrap();
        symlink("../secret", out.join("link")).unwrap();
        symlink("..", out.join("up")).unwrap();
        let beneath = Beneath::open(&out).unwrap();
        for path in ["link", "up/secret", "../secret", "/etc/passwd"] {
            assert!(beneath.file(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(beneath.look(Path::new("link")).unwrap().kind, FileType::Symlink);
        assert_eq!(beneath.link_target(Path::new("link")).unwrap(), b"../secret");
    }

    #[test]
    fn a_fifo_is_refused_without_waiting_for_its_writer() {
        let out = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, out.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)
            .unwrap();
        let beneath = Beneath::open(out.path()).unwrap();
        assert!(beneath.file(Path::new("fifo")).is_err());
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        symlink("/etc", root.path().join("out")).unwrap();
        assert!(Beneath::open(&root.path().join("out")).is_err());
    }
}
