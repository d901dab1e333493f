//! What a symlink in `/pfs/out` comes to, by the rules of the contract with user code.
//!
//! A link is followed by name alone, as user code would have seen it: `/pfs/out` is looked up in
//! the folder it left, inputs in the repo they came from, and nothing else exists. No link is ever
//! opened through the file system.

use std::collections::VecDeque;
use std::path::PathBuf;

use rustix::fs::FileType;
use varve_format::name::MAX_TARGET;
use varve_store::{Entry, Store};

use super::beneath::{Beneath, shown};
use super::inputs::{Inputs, Staged};
use varve_api::pod::OUT;

/// Links followed before it is called a loop; Linux's own limit.
const MAX_LINKS: u32 = 40;

/// What becomes of a link.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// It leads to something else in `out`: kept, with this target.
    Kept(String),
    /// It leads to an input: replaced by what it leads to.
    Input(Entry),
}

/// Why a link can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The user's doing; the text ends the sentence "the symlink …".
    #[error("{0}")]
    Unusable(String),
    /// The store failed while an input was looked up.
    #[error(transparent)]
    Store(#[from] varve_store::Error),
}

/// Where links are looked up.
pub(crate) struct Lookup<'a> {
    pub out: &'a Beneath,
    pub inputs: &'a Inputs,
    pub store: &'a Store,
    /// Where user code sees the folder above inputs and `out`: `/pfs`.
    pub pfs: &'a str,
}

/// What stands at a position.
enum Here {
    Folder,
    File,
    Link(String),
    Input(Entry),
}

impl Lookup<'_> {
    /// Follows the link at `link` (its names below `out`) whose text is `target`.
    pub(crate) async fn resolve(&self, link: &[String], target: &str) -> Result<Resolved, LinkError> {
        let mut walk = Walk {
            position: [OUT.to_owned()].into_iter().chain(parent(link).to_vec()).collect(),
            pending: VecDeque::new(),
            links: 0,
        };
        let mut here = Here::Folder;
        self.follow(&mut walk, target)?;
        while let Some(name) = walk.pending.pop_front() {
            if !matches!(here, Here::Folder | Here::Input(Entry::Directory(_))) {
                return Err(dangling(target));
            }
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    if walk.position.pop().is_none() {
                        return Err(self.escaping(target));
                    }
                    here = Here::Folder; // what lies above something that exists is a folder
                    continue;
                }
                _ => walk.position.push(name),
            }
            here = self.look(&walk.position).await?.ok_or_else(|| dangling(target))?;
            if let Here::Link(next) = &here {
                walk.position.pop();
                self.follow(&mut walk, next)?;
                here = Here::Folder;
            }
        }
        if walk.position.first().is_some_and(|first| first == OUT) {
            return Ok(Resolved::Kept(kept_target(link, target, &walk.position[1..])));
        }
        match self.look(&walk.position).await? {
            Some(Here::Input(entry)) => Ok(Resolved::Input(entry)),
            _ => Err(LinkError::Unusable(format!("to {} leads to a folder that is no input's own", shown(target)))),
        }
    }

    /// Takes up a target: its names come next, from the top if it is absolute.
    fn follow(&self, walk: &mut Walk, target: &str) -> Result<(), LinkError> {
        walk.links += 1;
        if walk.links > MAX_LINKS {
            return Err(LinkError::Unusable(format!("to {} leads round in a circle", shown(target))));
        }
        let names = if target.starts_with('/') {
            let below = target.strip_prefix(self.pfs).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            walk.position.clear();
            below.ok_or_else(|| self.escaping(target))?
        } else {
            target
        };
        for name in names.split('/').rev() {
            walk.pending.push_front(name.to_owned());
        }
        Ok(())
    }

    async fn look(&self, position: &[String]) -> Result<Option<Here>, LinkError> {
        match position.split_first() {
            None => Ok(Some(Here::Folder)),
            Some((first, names)) if first == OUT => Ok(self.look_in_out(names)),
            Some(_) => match self.inputs.find(self.store, position).await? {
                Staged::Missing => Ok(None),
                Staged::Above => Ok(Some(Here::Folder)),
                Staged::Entry(Entry::Symlink { target }) => {
                    let text = self.store.read_all(&target, MAX_TARGET).await?;
                    Ok(String::from_utf8(text.to_vec()).ok().map(Here::Link))
                }
                Staged::Entry(entry) => Ok(Some(Here::Input(entry))),
            },
        }
    }

    fn look_in_out(&self, names: &[String]) -> Option<Here> {
        if names.is_empty() {
            return Some(Here::Folder);
        }
        let path: PathBuf = names.iter().collect();
        match self.out.look(&path).ok()?.kind {
            FileType::Directory => Some(Here::Folder),
            FileType::RegularFile => Some(Here::File),
            FileType::Symlink => String::from_utf8(self.out.link_target(&path).ok()?).ok().map(Here::Link),
            _ => None,
        }
    }

    fn escaping(&self, target: &str) -> LinkError {
        let (target, pfs) = (shown(target), self.pfs);
        LinkError::Unusable(format!("to {target} leads out of {pfs}: it may lead within {pfs}/out or to an input"))
    }
}

/// The state of following a link: where we are below `/pfs`, and the names still to go.
struct Walk {
    position: Vec<String>,
    pending: VecDeque<String>,
    links: u32,
}

fn parent(link: &[String]) -> &[String] {
    link.split_last().map_or(&[], |(_, parent)| parent)
}

fn dangling(target: &str) -> LinkError {
    LinkError::Unusable(format!("to {} leads to nothing that can be kept", shown(target)))
}

/// The text that a kept link has in the tree: verbatim if it never leaves `out` on its way, else
/// the relative path that leads to the same place wherever the tree is checked out.
fn kept_target(link: &[String], target: &str, to: &[String]) -> String {
    let folder = parent(link);
    let mut depth = folder.len();
    let stays = !target.starts_with('/')
        && target.split('/').all(|name| match name {
            "" | "." => true,
            ".." => depth.checked_sub(1).map(|up| depth = up).is_some(),
            _ => {
                depth += 1;
                true
            }
        });
    if stays {
        return target.to_owned();
    }
    let shared = folder.iter().zip(to).take_while(|(a, b)| a == b).count();
    let ups = std::iter::repeat_n("..", folder.len() - shared);
    let path: Vec<&str> = ups.chain(to[shared..].iter().map(String::as_str)).collect();
    if path.is_empty() { ".".to_owned() } else { path.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn a_link_that_stays_inside_is_kept_verbatim_and_others_are_made_relative() {
        let kept = |link: &str, target: &str, to: &str| kept_target(&names(link), target, &names(to));
        assert_eq!(kept("a/link", "../b/./c", "b/c"), "../b/./c");
        assert_eq!(kept("a/link", "/pfs/out/b/c", "b/c"), "../b/c");
        assert_eq!(kept("link", "/pfs/out/b", "b"), "b");
        assert_eq!(kept("a/b/link", "/pfs/out/a/c", "a/c"), "../c");
        assert_eq!(kept("link", "../out/b", "b"), "b");
        assert_eq!(kept("a/link", "/pfs/out/a", "a"), ".");
    }
}
