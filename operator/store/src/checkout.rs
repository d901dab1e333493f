//! From the store to the local disk: real files and directories, modes as the format has them, contents verified.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

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

impl Store {
    /// Writes an entry to `dest`, which must not exist, in a folder that must: a file 0444 or 0555, a symlink with its
    /// target verbatim, or a directory 0755 with everything below it.
    pub async fn checkout(&self, entry: &Entry, dest: &Path) -> Result<()> {
        let Entry::Directory(root) = entry else { return self.checkout_file(entry, dest).await };
        make_directory(dest).await?;
        self.walk(root)
            .try_for_each_concurrent(FILES_IN_FLIGHT, |(path, entry)| async move {
                let file = dest.join(path.as_str());
                make_parents(dest, &file).await?;
                self.checkout_file(&entry, &file).await
            })
            .await
    }

    async fn checkout_file(&self, entry: &Entry, dest: &Path) -> Result<()> {
        match entry {
            Entry::File { executable, content } => {
                let mode = if *executable { EXECUTABLE_MODE } else { FILE_MODE };
                self.write_out(content, dest, mode).await
            }
            Entry::Symlink { target } => {
                let bytes = self.read_all(target, MAX_TARGET).await?;
                let target = std::str::from_utf8(&bytes)
                    .map_err(|_| Error::corrupt(format!("symlink {}", dest.display()), "its target is not UTF-8"))?;
                let made = tokio::fs::symlink(target, dest).await;
                made.map_err(|error| Error::io(format!("make symlink {}", dest.display()), error))
            }
            Entry::Directory(_) => Ok(()),
        }
    }

    async fn write_out(&self, content: &ContentRef, dest: &Path, mode: u32) -> Result<()> {
        let doing = || format!("write {}", dest.display());
        let mut options = tokio::fs::OpenOptions::new();
        // Never through what already has this name: `dest` may lie where others write.
        options.write(true).create_new(true).mode(mode | 0o200);
        let mut file = options.open(dest).await.map_err(|error| Error::io(doing(), error))?;
        let mut parts = self.read(content, 0..content.size);
        while let Some(part) = parts.try_next().await? {
            file.write_all(&part).await.map_err(|error| Error::io(doing(), error))?;
        }
        file.flush().await.map_err(|error| Error::io(doing(), error))?;
        // By the open file, whatever the umask and whoever has touched the name meanwhile.
        file.set_permissions(Permissions::from_mode(mode)).await.map_err(|error| Error::io(doing(), error))
    }
}

async fn make_directory(path: &Path) -> Result<()> {
    let doing = || format!("make directory {}", path.display());
    match tokio::fs::create_dir(path).await {
        Ok(()) => tokio::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
            .await
            .map_err(|error| Error::io(doing(), error)),
        Err(error) => Err(Error::io(doing(), error)),
    }
}

/// Makes the directories between `dest` and a file below it that are not there yet. Another file's task may make the
/// same at the same time.
async fn make_parents(dest: &Path, file: &Path) -> Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut next = file.parent();
    while let Some(directory) = next.filter(|directory| *directory != dest) {
        if tokio::fs::symlink_metadata(directory).await.is_ok() {
            break;
        }
        missing.push(directory.to_owned());
        next = directory.parent();
    }
    for directory in missing.into_iter().rev() {
        match make_directory(&directory).await {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}
