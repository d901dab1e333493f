//! From the store to the local disk: real files and directories, modes as the format has them, contents verified.
//!
//! Everything is made beneath the descriptor of a directory that was made here, name by name, and no symlink is ever
//! followed: a stored tree that has a name both as a symlink and as a directory writes nowhere else.

use std::fs::{File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, open, openat, symlinkat};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use varve_format::{RepoPath, escape};

use crate::content::budget::Budget;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::types::{ContentRef, Entry};

/// Files written at once.
const FILES_IN_FLIGHT: usize = 8;
const FILE_MODE: u32 = 0o444;
const EXECUTABLE_MODE: u32 = 0o555;
const DIRECTORY_MODE: u32 = 0o755;
/// Longest target of a symlink.
const MAX_TARGET: u64 = 4095;

/// Where an entry is to be made: a directory, and the way from there.
#[derive(Debug, Clone)]
struct Place {
    root: Arc<OwnedFd>,
    /// The root's own path, for messages.
    folder: Arc<Path>,
    below: RepoPath,
}

impl Store {
    /// Writes an entry to `dest`, which must not exist, in a folder that must: a file 0444 or 0555, a symlink with its
    /// target verbatim, or a directory 0755 with everything below it. Memory is bounded whatever the sizes.
    pub async fn checkout(&self, entry: &Entry, dest: &Path) -> Result<()> {
        let budget = Budget::new();
        let Entry::Directory(tree) = entry else {
            let below = name_of(dest)?;
            let folder = dest.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let place = Place { root: open_folder(folder).await?, folder: folder.into(), below };
            return self.checkout_file(entry, &place, budget).await;
        };
        let root = make_folder(dest).await?;
        let folder: Arc<Path> = dest.into();
        self.walk(tree)
            .try_for_each_concurrent(FILES_IN_FLIGHT, |(below, entry)| {
                let place = Place { root: root.clone(), folder: folder.clone(), below };
                let budget = budget.clone();
                async move { self.checkout_file(&entry, &place, budget).await }
            })
            .await
    }

    async fn checkout_file(&self, entry: &Entry, place: &Place, budget: Budget) -> Result<()> {
        match entry {
            Entry::File { executable, content } => {
                let mode = if *executable { EXECUTABLE_MODE } else { FILE_MODE };
                self.write_out(content, place, mode, budget).await
            }
            Entry::Symlink { target } => {
                let bytes = self.read_all(target, MAX_TARGET).await?;
                place.make(move |folder, name| symlinkat(bytes.as_ref(), folder, name)).await
            }
            Entry::Directory(_) => Ok(()),
        }
    }

    async fn write_out(&self, content: &ContentRef, place: &Place, mode: u32, budget: Budget) -> Result<()> {
        let doing = || format!("write {}", place.shown());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opening = place.make(move |folder, name| openat(folder, name, flags, Mode::from_raw_mode(mode | 0o200)));
        let mut file = tokio::fs::File::from_std(File::from(opening.await?));
        let mut parts = self.read_within(content, 0..content.size, budget);
        while let Some(part) = parts.try_next().await? {
            file.write_all(&part).await.map_err(|error| Error::io(doing(), error))?;
        }
        file.flush().await.map_err(|error| Error::io(doing(), error))?;
        // By the open file, whatever the umask and whoever has touched the name meanwhile.
        file.set_permissions(Permissions::from_mode(mode)).await.map_err(|error| Error::io(doing(), error))
    }
}

impl Place {
    /// The whole path, for messages: a name in a tree may hold line breaks.
    fn shown(&self) -> String {
        escape(self.folder.join(self.below.as_str()).as_os_str().as_encoded_bytes())
    }

    /// Makes the last name, in its folder by descriptor; folders on the way are made where they are not there yet.
    async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce(&OwnedFd, &str) -> rustix::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = self.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let mut names: Vec<&str> = place.below.names().collect();
            let Some(last) = names.pop() else { return Err(Errno::ISDIR) };
            let mut folder = place.root.clone();
            for name in names {
                folder = Arc::new(enter(&folder, name)?);
            }
            make(&folder, last)
        });
        let outcome = outcome.await.map_err(|_| Error::SessionEnded)?;
        outcome.map_err(|error| match error {
            Errno::EXIST | Errno::NOTDIR | Errno::LOOP if self.below.names().count() > 1 => self.taken(),
            error => Error::io(format!("make {}", self.shown()), error.into()),
        })
    }

    /// A tree has each name once, so a checkout never meets what it made itself, unless the tree is not one.
    fn taken(&self) -> Error {
        let why = "one of its names stands there already, as something else: the tree has it more than once";
        Error::corrupt(format!("the path {}", self.shown()), why)
    }
}

/// The folder of this name, made if it is not there: another file's task may make the same at the same time.
fn enter(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match open_directory(folder, name) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match mkdirat(folder, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
        Ok(()) => {
            let made = open_directory(folder, name)?;
            fchmod(&made, Mode::from_raw_mode(DIRECTORY_MODE))?;
            Ok(made)
        }
        Err(Errno::EXIST) => open_directory(folder, name),
        Err(error) => Err(error),
    }
}

fn open_directory(folder: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    openat(folder, name, directory() | OFlags::NOFOLLOW, Mode::empty())
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// The folder that a caller names: his own links on the way to it are his business.
async fn open_folder(folder: &Path) -> Result<Arc<OwnedFd>> {
    let path = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || open(&path, directory(), Mode::empty())).await;
    let opened = opened.map_err(|_| Error::SessionEnded)?;
    opened.map(Arc::new).map_err(|error| Error::io(format!("open {}", folder.display()), error.into()))
}

/// The new folder that a whole tree goes to.
async fn make_folder(dest: &Path) -> Result<Arc<OwnedFd>> {
    let path = dest.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&path)?;
        let made = open(&path, directory() | OFlags::NOFOLLOW, Mode::empty())?;
        fchmod(&made, Mode::from_raw_mode(DIRECTORY_MODE))?;
        Ok(made)
    });
    let made: std::io::Result<OwnedFd> = made.await.map_err(|_| Error::SessionEnded)?;
    made.map(Arc::new).map_err(|error| Error::io(format!("make directory {}", dest.display()), error))
}

fn name_of(dest: &Path) -> Result<RepoPath> {
    let name = dest.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(RepoPath::ROOT.join(name)?)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use varve_format::MapKind;

    use super::*;
    use crate::map::node::Slot;
    use crate::types::{NodeRef, TreeEdit};

    async fn store() -> Store {
        Store::open(Arc::new(InMemory::new()), "p".into()).await.expect("the store opens")
    }

    fn slot(name: &str, entry: &Entry) -> Slot {
        Slot { row: entry.row(name), at: entry.at().clone(), refs: Vec::new(), longest: 1 }
    }

    #[tokio::test]
    async fn a_name_that_is_a_symlink_and_a_directory_writes_nothing_through_the_link() {
        let (store, outside, ground) = (store().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let session = store.session();
        let target = session.write_bytes(outside.path().to_str().unwrap().to_owned().into_bytes()).await.unwrap();
        let content = session.write_bytes(&b"x"[..]).await.unwrap();
        let put = vec![(RepoPath::parse("x").unwrap(), TreeEdit::Put(Entry::file(content)))];
        let below = session.edit_tree(&NodeRef::empty(&MapKind::TREE), put).await.unwrap();
        // No edit makes such a tree: each of the two stands in a node of its own.
        let mut children = Vec::new();
        for entry in [Entry::Symlink { target }, Entry::Directory(below)] {
            children.push(session.write_child(&MapKind::TREE, 0, vec![slot("a", &entry)]).await.unwrap());
        }
        let tree = session.write_root(&MapKind::TREE, 1, children).await.unwrap();
        session.flush().await.unwrap();
        let failed = store.checkout(&Entry::Directory(tree), &ground.path().join("dest")).await.unwrap_err();
        assert!(matches!(failed, Error::Corrupt { .. }), "{failed}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn files_that_unpack_to_far_more_than_they_are_stored_as_come_out_whole() {
        let (store, ground) = (store().await, tempfile::tempdir().unwrap());
        let session = store.session();
        let mut edits = Vec::new();
        for n in 0..6_u8 {
            // More than the budget of a checkout, all in all.
            let text = format!("line {n}\n").repeat(2_000_000);
            let content = session.write_content(text.as_bytes()).await.unwrap();
            edits.push((RepoPath::parse(&format!("d/{n}")).unwrap(), TreeEdit::Put(Entry::file(content))));
        }
        let tree = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await.unwrap();
        session.flush().await.unwrap();
        let dest = ground.path().join("dest");
        store.checkout(&Entry::Directory(tree), &dest).await.unwrap();
        for n in 0..6_u8 {
            assert_eq!(std::fs::metadata(dest.join(format!("d/{n}"))).unwrap().len(), 14_000_000);
        }
    }
}
