//! The folder in which everything lies that lasts. One process at a time works on it.
//!
//! ```text
//! version     of this layout
//! lock        held by the process at work, whose id stands in it
//! objects     the API server's
//! token       for the API, readable by its owner alone, as is the kubeconfig
//! kubeconfig  with which stock kubectl works
//! store/<n>   the bucket of namespace n
//! pods/       folders of pods at work, and their logs
//! log         what the controllers log
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Error;

/// The layout above.
const VERSION: u32 = 1;
/// The folder's name, unless it is told.
const NAME: &str = ".varve";
/// The kubeconfig's name for cluster, user and context.
const CONTEXT: &str = "varve-dev";

/// The folder, held.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    _lock: File,
}

/// Where the folder is: as told, else in the folder that `first` is, or lies in.
pub(super) fn folder(told: Option<&Path>, first: Option<&Path>) -> PathBuf {
    if let Some(told) = told {
        return told.to_owned();
    }
    let first = first.unwrap_or(Path::new("."));
    let beside = if first.is_file() { first.parent().unwrap_or(Path::new(".")) } else { first };
    beside.join(NAME)
}

impl State {
    /// Opens the folder, or makes it, for this process alone.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file("make folder", folder))?;
        let folder = folder.canonicalize().map_err(Error::file("find folder", folder))?;
        let lock = lock(&folder)?;
        let version = folder.join("version");
        match fs::read_to_string(&version) {
            Ok(found) => match found.trim().parse::<u32>() {
                Ok(known) if known <= VERSION => {}
                _ => return Err(Error::Newer { path: folder, found: found.trim().to_owned(), known: VERSION }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::write(&version, format!("{VERSION}\n")).map_err(Error::file("write", version))?;
                // Whoever puts the project under version control means the files, not what was made of them.
                let ignore = folder.join(".gitignore");
                fs::write(&ignore, "*\n").map_err(Error::file("write", ignore))?;
            }
            Err(error) => return Err(Error::file("read", version)(error)),
        }
        Ok(Self { folder, _lock: lock })
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    pub(super) fn pods(&self) -> PathBuf {
        self.folder.join("pods")
    }

    /// Where the buckets of all namespaces lie.
    pub(super) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The API's token: made once.
    pub(super) fn token(&self) -> Result<String, Error> {
        let path = self.folder.join("token");
        match fs::read_to_string(&path) {
            Ok(token) if !token.trim().is_empty() => Ok(token.trim().to_owned()),
            _ => {
                // Two random uuids: 244 bits.
                let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                write_secret(&path, &token)?;
                Ok(token)
            }
        }
    }

    /// The port that the kubeconfig of last time names.
    pub(super) fn last_port(&self) -> Option<u16> {
        let text = fs::read_to_string(self.kubeconfig()).ok()?;
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: http://"))?;
        server.rsplit_once("@127.0.0.1:")?.1.parse().ok()
    }

    /// Writes the kubeconfig for an API at `address`. The token stands in the address too: kubectl sends none by itself
    /// where there is no TLS.
    pub(super) fn write_kubeconfig(&self, address: SocketAddr, namespace: &str) -> Result<(), Error> {
        let token = self.token()?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {CONTEXT}\n\
             clusters:\n- name: {CONTEXT}\n  cluster:\n    server: http://varve:{token}@{address}\n\
             users:\n- name: {CONTEXT}\n  user:\n    token: {token}\n\
             contexts:\n- name: {CONTEXT}\n  context:\n    cluster: {CONTEXT}\n    user: {CONTEXT}\n    namespace: {namespace}\n"
        );
        write_secret(&self.kubeconfig(), &text)
    }
}

/// Holds the folder until the process ends, however it ends.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let by = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
            return Err(Error::Locked { path: folder.to_owned(), by });
        }
        Err(TryLockError::Error(error)) => return Err(Error::file("lock", path)(error)),
    }
    let mut written = || {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    written().map_err(Error::file("write", path))?;
    Ok(file)
}

/// Replaces a file whole; nobody but its owner may read it.
fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&partial);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&partial, path)
    };
    write().map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_process_at_a_time_works_on_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let first = State::open(root.path()).unwrap();
        let second = State::open(root.path()).unwrap_err().to_string();
        assert!(second.contains(&format!("process {}", std::process::id())), "{second}");
        drop(first);
        State::open(root.path()).unwrap();
    }

    #[test]
    fn a_folder_of_a_later_version_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("version"), "2\n").unwrap();
        let refused = State::open(root.path()).unwrap_err().to_string();
        assert!(refused.contains("is of version 2 and this varve knows 1"), "{refused}");
    }

    #[test]
    fn token_and_port_stay_and_nobody_else_reads_them() {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(root.path()).unwrap();
        assert_eq!(state.last_port(), None);
        state.write_kubeconfig("127.0.0.1:4711".parse().unwrap(), "lab").unwrap();
        let token = state.token().unwrap();
        drop(state);
        let state = State::open(root.path()).unwrap();
        assert_eq!((state.last_port(), state.token().unwrap()), (Some(4711), token));
        let mode = fs::metadata(state.kubeconfig()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_folder_lies_beside_the_first_file() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("all.yaml");
        fs::write(&file, "").unwrap();
        assert_eq!(folder(None, Some(&file)), root.path().join(".varve"));
        assert_eq!(folder(None, Some(root.path())), root.path().join(".varve"));
        assert_eq!(folder(Some(Path::new("/x")), Some(&file)), Path::new("/x"));
    }
}
