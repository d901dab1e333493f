//! From the local disk into the store: a folder becomes a tree. Whatever a tree cannot hold fails the import, by name.
//!
//! Depth first in key order, one open directory per level and no recursion; small files share frames of about 128 KiB.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use varve_format::{Hash, Kind, Location, MapKind, RepoPath, Row, escape};

use crate::content::write::INLINE_BYTES;
use crate::error::{Error, Result};
use crate::map::build::Builder;
use crate::map::node::Slot;
use crate::session::Session;
use crate::types::{ContentRef, Entry, NodeRef};

/// Files up to this size share frames.
const SHARED_FILE_BYTES: u64 = 32 << 10;
/// A shared frame is written once it has this much.
const SHARED_FRAME_BYTES: usize = 128 << 10;
/// Longest target of a symlink.
const MAX_TARGET: usize = 4095;

/// A name of a folder, as it will stand in the tree.
struct Found {
    key: Vec<u8>,
    name: String,
    path: PathBuf,
    kind: Kind,
    size: u64,
}

/// A directory being imported.
struct Open<'a> {
    path: RepoPath,
    /// What is still to come, the next one last.
    names: Vec<Found>,
    builder: Builder<'a>,
    /// Entries in key order, not all of which have their place yet.
    slots: Vec<Slot>,
    /// Small files that wait for their shared frame: which slot, and the content.
    small: Vec<(usize, Hash, Bytes)>,
    small_bytes: usize,
}

impl Session {
    /// Writes everything below a folder as a tree and returns its root. Directories without files are passed over.
    pub async fn import_dir(&self, folder: &Path) -> Result<NodeRef> {
        let mut open = vec![self.open_directory(folder.to_owned(), RepoPath::ROOT).await?];
        loop {
            let Some(directory) = open.last_mut() else { return Err(Error::SessionEnded) };
            let Some(found) = directory.names.pop() else {
                let root = self.close_directory(open.pop()).await?;
                let Some((parent, name)) = open.last_mut().zip(root.1.file_name()) else { return Ok(root.0) };
                if root.0.files > 0 {
                    let longest = self.longest_below(&root.0).await?;
                    let row = Entry::Directory(root.0.clone()).row(name);
                    parent.slots.push(Slot { row, at: root.0.at, refs: Vec::new(), longest });
                }
                continue;
            };
            let path = directory.path.join(&found.name)?;
            if found.kind == Kind::Directory {
                open.push(self.open_directory(found.path, path).await?);
            } else {
                self.import_file(directory, found).await?;
            }
        }
    }

    async fn open_directory(&self, folder: PathBuf, path: RepoPath) -> Result<Open<'_>> {
        let names = tokio::task::spawn_blocking(move || read_directory(&folder)).await;
        let names = names.map_err(|_| Error::SessionEnded)??;
        let builder = Builder::new(self, &MapKind::TREE, 0);
        Ok(Open { path, names, builder, slots: Vec::new(), small: Vec::new(), small_bytes: 0 })
    }

    async fn close_directory(&self, directory: Option<Open<'_>>) -> Result<(NodeRef, RepoPath)> {
        let Some(mut directory) = directory else { return Err(Error::SessionEnded) };
        self.place_small(&mut directory).await?;
        Ok((directory.builder.finish().await?, directory.path))
    }

    async fn import_file(&self, directory: &mut Open<'_>, found: Found) -> Result<()> {
        let doing = || format!("read {}", found.path.display());
        let name = Bytes::from(found.key);
        let row = |content: &ContentRef| Row::file(name.clone(), found.kind, content.id, content.size);
        if found.kind == Kind::Symlink {
            let target = tokio::fs::read_link(&found.path).await.map_err(|error| Error::io(doing(), error))?;
            let content = self.write_bytes(target_bytes(&found.path, &target)?).await?;
            directory.slots.push(Slot { row: row(&content), at: content.at, refs: Vec::new(), longest: 0 });
            return Ok(());
        }
        if found.size > SHARED_FILE_BYTES {
            let content = self.write_file(&found.path).await?;
            directory.slots.push(Slot { row: row(&content), at: content.at, refs: Vec::new(), longest: 0 });
            return Ok(());
        }
        let bytes = Bytes::from(tokio::fs::read(&found.path).await.map_err(|error| Error::io(doing(), error))?);
        // It may have grown since it was listed: then it is simply written by itself.
        if bytes.len() <= INLINE_BYTES || bytes.len() as u64 > SHARED_FILE_BYTES {
            let content = self.write_bytes(bytes).await?;
            directory.slots.push(Slot { row: row(&content), at: content.at, refs: Vec::new(), longest: 0 });
            return Ok(());
        }
        let content = ContentRef { id: Hash::of_content(&bytes), size: bytes.len() as u64, at: Location::Erased };
        directory.small_bytes += bytes.len();
        directory.small.push((directory.slots.len(), content.id, bytes));
        directory.slots.push(Slot { row: row(&content), at: content.at, refs: Vec::new(), longest: 0 });
        if directory.small_bytes >= SHARED_FRAME_BYTES {
            self.place_small(directory).await?;
        }
        Ok(())
    }

    /// Writes the shared frame, and hands the entries on: all of them have their place now.
    async fn place_small(&self, directory: &mut Open<'_>) -> Result<()> {
        let small = std::mem::take(&mut directory.small);
        directory.small_bytes = 0;
        if !small.is_empty() {
            let contents: Vec<(Hash, Bytes)> = small.iter().map(|(_, hash, bytes)| (*hash, bytes.clone())).collect();
            let places = self.append_shared(&contents).await?;
            for ((index, _, _), at) in small.iter().zip(places) {
                directory.slots[*index].at = Location::Pack(at);
            }
        }
        for slot in directory.slots.drain(..) {
            directory.builder.push(slot).await?;
        }
        Ok(())
    }
}

/// The names of a folder in descending key order, each checked.
fn read_directory(folder: &Path) -> Result<Vec<Found>> {
    let doing = || format!("list {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::io(doing(), error))? {
        let entry = entry.map_err(|error| Error::io(doing(), error))?;
        let path = entry.path();
        let refuse = |why: String| Error::Import { path: escape(path.as_os_str().as_bytes()), why };
        let name = varve_format::name::check_name(entry.file_name().as_bytes())
            .map_err(|error| refuse(error.to_string()))?
            .to_owned();
        let metadata = entry.metadata().map_err(|error| Error::io(doing(), error))?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_symlink() {
            Kind::Symlink
        } else if file_type.is_file() {
            if metadata.permissions().mode() & 0o100 == 0 { Kind::File } else { Kind::Executable }
        } else {
            let what = if file_type.is_socket() {
                "a socket"
            } else if file_type.is_fifo() {
                "a FIFO"
            } else {
                "a device"
            };
            return Err(refuse(format!("it is {what}; a tree holds files, directories and symlinks")));
        };
        let key = if kind == Kind::Directory { format!("{name}/") } else { name.clone() };
        names.push(Found { key: key.into_bytes(), name, path, kind, size: metadata.len() });
    }
    names.sort_by(|a, b| b.key.cmp(&a.key));
    Ok(names)
}

fn target_bytes(path: &Path, target: &Path) -> Result<Bytes> {
    let bytes = target.as_os_str().as_bytes();
    let refuse = |why: &str| Error::Import { path: escape(path.as_os_str().as_bytes()), why: why.to_owned() };
    if std::str::from_utf8(bytes).is_err() {
        return Err(refuse("its target must be UTF-8"));
    }
    if bytes.is_empty() || bytes.len() > MAX_TARGET {
        return Err(refuse("its target must have 1 to 4095 bytes"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}
