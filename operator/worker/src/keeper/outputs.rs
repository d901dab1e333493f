//! What user code left in `/pfs/out`, imported as a tree.
//!
//! Folder by folder, children first, so that memory holds the names of one folder, one batch of
//! entries and the names of subfolders on the way down, never a whole tree; a file is streamed. Everything is opened
//! beneath the folder's own descriptor. What no tree can hold is the datum's failure, and named.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use rustix::fs::FileType;
use rustix::io::Errno;
use varve_format::{MapKind, RepoPath};
use varve_store::{ContentRef, Entry, Error as StoreError, NodeRef, SHARED_CONTENT_BYTES, Session, TreeEdit};

use super::beneath::{Beneath, Found, kind_name, shown};
use super::symlinks::{LinkError, Lookup, Resolved};

/// Files of one datum read at once: enough to hide the disk's latency behind the hashing.
const FILES_AT_ONCE: usize = 4;

/// Files up to this size are read whole: a buffer costs less than the stream's hand-offs.
const WHOLE_BYTES: u64 = 64 << 10;

/// Entries of one folder put at once: about 4 MiB of edits.
const BATCH: usize = 16 << 10;

/// Why an output was not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The user's doing: the datum fails with this text.
    #[error("{0}")]
    Unusable(String),
    /// The store's or the disk's doing: to be tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pod's own disk.
    #[error("read {path}: {source}")]
    Disk { path: String, source: io::Error },
}

impl From<LinkError> for OutputError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Unusable(why) => Self::Unusable(why),
            LinkError::Store(error) => Self::Store(error),
        }
    }
}

/// A folder being imported: what is put in already, what is to be put, what is still to come.
struct Open {
    path: RepoPath,
    node: NodeRef,
    edits: Vec<(RepoPath, TreeEdit)>,
    subfolders: Vec<RepoPath>,
}

/// An entry of a folder, looked at.
enum Item {
    Folder(RepoPath),
    Entry(RepoPath, Entry),
    /// A file that shares a frame with its neighbours.
    Small(Small, Bytes),
}

/// A small file that waits for its place.
struct Small {
    name: RepoPath,
    executable: bool,
}

/// Imports a folder whole; the result may be the empty tree.
pub(crate) struct Importer<'a> {
    pub session: &'a Session,
    pub lookup: Lookup<'a>,
}

impl Importer<'_> {
    /// The tree of everything below `out`.
    pub(crate) async fn import(&self) -> Result<NodeRef, OutputError> {
        let mut above: Vec<Open> = Vec::new();
        let mut folder = self.open(RepoPath::ROOT).await?;
        loop {
            if let Some(below) = folder.subfolders.pop() {
                let below = self.open(below).await?;
                above.push(std::mem::replace(&mut folder, below));
                continue;
            }
            self.put(&mut folder).await?;
            let Some(parent) = above.pop() else { return Ok(folder.node) };
            let done = std::mem::replace(&mut folder, parent);
            // A folder without any file below does not exist in a tree.
            if done.node.files > 0
                && let Some(name) = done.path.file_name()
            {
                folder.edits.push((own_name(name)?, TreeEdit::Put(Entry::Directory(done.node))));
                if folder.edits.len() >= BATCH {
                    self.put(&mut folder).await?;
                }
            }
        }
    }

    /// Imports the files of one folder and lists its subfolders.
    async fn open(&self, path: RepoPath) -> Result<Open, OutputError> {
        let names = self.lookup.out.names(Path::new(path.as_str())).map_err(|error| self.disk(&path, error))?;
        let mut names = names.collect::<io::Result<Vec<_>>>().map_err(|error| self.disk(&path, error))?;
        // In the tree's order: each batch then goes behind the one before, and no node is written twice.
        names.sort_unstable();
        let mut names = names.into_iter();
        let mut folder = Open {
            path: path.clone(),
            node: NodeRef::empty(&MapKind::TREE),
            edits: Vec::new(),
            subfolders: Vec::new(),
        };
        let mut small = self.session.small_contents();
        let mut looking = FuturesUnordered::new();
        loop {
            while looking.len() < FILES_AT_ONCE
                && let Some(name) = names.next()
            {
                looking.push(self.item(&path, name));
            }
            match looking.try_next().await? {
                Some(Item::Folder(below)) => folder.subfolders.push(below),
                Some(Item::Entry(name, entry)) => folder.edits.push((name, TreeEdit::Put(entry))),
                Some(Item::Small(file, bytes)) => {
                    folder.edits.extend(small.add(file, bytes).await?.into_iter().map(placed));
                }
                None => break,
            }
            if folder.edits.len() >= BATCH {
                self.put(&mut folder).await?;
            }
        }
        drop(looking);
        folder.edits.extend(small.finish().await?.into_iter().map(placed));
        Ok(folder)
    }

    async fn put(&self, folder: &mut Open) -> Result<(), OutputError> {
        if !folder.edits.is_empty() {
            folder.node = self.session.edit_tree(&folder.node, std::mem::take(&mut folder.edits)).await?;
        }
        Ok(())
    }

    async fn item(&self, folder: &RepoPath, name: OsString) -> Result<Item, OutputError> {
        let at = Path::new(folder.as_str()).join(&name);
        let no_text = || self.unusable(&at, "its name is not UTF-8, as names in a repo must be");
        let text = name.to_str().ok_or_else(no_text)?;
        let path = folder.join(text).map_err(|error| self.unusable(&at, &error.to_string()))?;
        let found = self.lookup.out.look(&at).map_err(|error| self.disk(&path, error))?;
        let entry = match found.kind {
            FileType::Directory => {
                path.check_directory().map_err(|error| self.unusable(&at, &error.to_string()))?;
                return Ok(Item::Folder(path));
            }
            FileType::RegularFile => return self.file(&path, own_name(text)?, found).await,
            FileType::Symlink => self.link(&path, &at).await?,
            kind => {
                let why = format!("it is {}, and a repo holds only files, directories and symlinks", kind_name(kind));
                return Err(self.unusable(&at, &why));
            }
        };
        Ok(Item::Entry(own_name(text)?, entry))
    }

    async fn file(&self, path: &RepoPath, name: RepoPath, found: Found) -> Result<Item, OutputError> {
        let (at, executable) = (Path::new(path.as_str()), found.executable);
        let file = self.lookup.out.file(at).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => self.unusable(at, "it can't be read: permission denied"),
            _ => self.disk(path, error),
        })?;
        let content = if found.size <= WHOLE_BYTES {
            let mut whole = Vec::new();
            (&file).take(WHOLE_BYTES + 1).read_to_end(&mut whole).map_err(|error| self.disk(path, error))?;
            if whole.len() as u64 <= SHARED_CONTENT_BYTES {
                return Ok(Item::Small(Small { name, executable }, whole.into()));
            }
            // It may have grown since it was looked at: then all of it counts.
            let rest = (whole.len() as u64 > WHOLE_BYTES).then(|| tokio::fs::File::from_std(file));
            match rest {
                Some(rest) => {
                    self.session.write_content(tokio::io::AsyncReadExt::chain(whole.as_slice(), rest)).await?
                }
                None => self.session.write_content(whole.as_slice()).await?,
            }
        } else {
            self.session.write_content(tokio::fs::File::from_std(file)).await?
        };
        Ok(Item::Entry(name, Entry::File { executable, content }))
    }

    async fn link(&self, path: &RepoPath, at: &Path) -> Result<Entry, OutputError> {
        let unusable = |why: &str| self.unusable(at, why);
        let target = self.lookup.out.link_target(at).map_err(|error| self.disk(path, error))?;
        let target = String::from_utf8(target).map_err(|error| {
            let shown = shown(std::ffi::OsStr::from_bytes(error.as_bytes()));
            unusable(&format!("the symlink to {shown} is not UTF-8, as links in a repo must be"))
        })?;
        let names: Vec<String> = path.names().map(str::to_owned).collect();
        match self.lookup.resolve(&names, &target).await {
            Ok(Resolved::Kept(target)) => {
                Ok(Entry::Symlink { target: self.session.write_content(target.as_bytes()).await? })
            }
            Ok(Resolved::Input(entry)) => Ok(entry),
            Err(LinkError::Unusable(why)) => Err(unusable(&format!("the symlink {why}"))),
            Err(other) => Err(other.into()),
        }
    }

    fn unusable(&self, path: impl AsRef<OsStr>, why: &str) -> OutputError {
        let path = shown(path);
        OutputError::Unusable(format!("the output {}/out/{path} can't be used: {why}", self.lookup.pfs))
    }

    fn disk(&self, path: &RepoPath, source: io::Error) -> OutputError {
        let at = path.as_str();
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                return self.unusable(at, "it can't be read: permission denied");
            }
            io::ErrorKind::InvalidFilename => return self.unusable(at, "its path is too long"),
            io::ErrorKind::Unsupported => {
                return self.unusable(at, "this node's kernel has no openat2: it must be Linux 5.6 or later");
            }
            _ => {}
        }
        OutputError::Disk { path: format!("{}/out{path}", self.lookup.pfs), source }
    }
}

fn placed((file, content): (Small, ContentRef)) -> (RepoPath, TreeEdit) {
    (file.name, TreeEdit::Put(Entry::File { executable: file.executable, content }))
}

fn own_name(name: &str) -> Result<RepoPath, OutputError> {
    RepoPath::parse(name).map_err(|error| OutputError::Unusable(error.to_string()))
}

/// Opens what user code left as `out`; anything but a directory there is the datum's failure.
pub(crate) fn open_out(done: &Path, pfs: &str) -> Result<Beneath, OutputError> {
    let path = done.join(varve_api::pod::OUT);
    Beneath::open(&path).map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
            OutputError::Unusable(format!("{pfs}/out is no directory any more: {source}"))
        }
        _ => OutputError::Disk { path: format!("{pfs}/out"), source },
    })
}
