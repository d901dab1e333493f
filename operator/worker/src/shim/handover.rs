//! What the user's code left in `/pfs/out`, made ready for a keeper that runs as another user.
//!
//! Only whoever owns a file may change its mode, so the shim, which runs as the user, opens up
//! what is handed over and removes what is not wanted. Nothing here fails: what can't be changed
//! is left, and the keeper names it if it can't be read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Lets everybody read and remove `out` and everything below; returns the bytes of regular files.
///
/// An owner's execute bit is part of what the keeper records, so it is kept.
pub(super) fn open_up(out: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(found) = fs::symlink_metadata(out)
        && found.is_dir()
    {
        // Ours only where user and keeper are one: then user code may have closed it.
        set_mode(out, found.mode(), 0o777);
        folders.push(out.into());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if found.is_dir() {
                set_mode(&path, found.mode(), 0o777);
                folders.push(path);
            } else if found.is_file() {
                set_mode(&path, found.mode(), 0o666);
                bytes += found.len();
            }
        }
    }
    bytes
}

/// Removes everything below `out` that can be removed, and opens up the rest. Where user code put a link in its place,
/// what that leads to is none of ours.
pub(super) fn clear(out: &Path) {
    if !fs::symlink_metadata(out).is_ok_and(|found| found.is_dir()) {
        return;
    }
    open_up(out);
    for entry in fs::read_dir(out).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let _ = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Sticky and set-id bits go: a sticky folder's files could not be removed by the keeper.
fn set_mode(path: &Path, mode: u32, wanted: u32) {
    let opened = (mode & 0o777) | wanted;
    if opened != mode & 0o7777 {
        let _ = fs::set_permissions(path, Permissions::from_mode(opened));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_folders_and_files_are_opened_and_the_execute_bit_is_kept() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("deep/er");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tool"), "12345").unwrap();
        fs::set_permissions(folder.join("tool"), Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o1000)).unwrap();
        fs::set_permissions(out.path(), Permissions::from_mode(0o555)).unwrap();
        assert_eq!(open_up(out.path()), 5);
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(out.path()), mode(&folder), mode(&folder.join("tool"))), (0o777, 0o777, 0o766));
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("secret");
        fs::write(&target, "kept").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o400)).unwrap();
        let out = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&target, out.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), out.path().join("folder")).unwrap();
        open_up(out.path());
        clear(out.path());
        assert_eq!(fs::symlink_metadata(&target).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_not_followed() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("data"), "kept").unwrap();
        let pfs = tempfile::tempdir().unwrap();
        let out = pfs.path().join("out");
        std::os::unix::fs::symlink(elsewhere.path(), &out).unwrap();
        clear(&out);
        assert_eq!(fs::read_to_string(elsewhere.path().join("data")).unwrap(), "kept");
    }
}
