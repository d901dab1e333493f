//! A datum's inputs: staging them on disk, and finding again what a path under `/pfs/<mount>` was.

use std::path::Path;

use varve_format::records::{PlanDatum, PlanMember};
use varve_format::{DecodeError, RepoPath, Totals, name::check_name};
use varve_store::{Entry, Store};

use super::error::StageError;
use crate::pod::layout::make_folder;

/// A member of a datum, typed.
#[derive(Debug)]
struct Member {
    mount: String,
    path: RepoPath,
    /// None where an optional input matched nothing.
    entry: Option<Entry>,
}

/// All members of a datum.
#[derive(Debug)]
pub(crate) struct Inputs {
    members: Vec<Member>,
}

/// What stands at a path below `/pfs`, inputs only.
#[derive(Debug)]
pub(crate) enum Staged {
    /// An input's own file, link or directory.
    Entry(Entry),
    /// A folder above the members, which no repo holds as such.
    Above,
    /// Nothing.
    Missing,
}

impl Inputs {
    /// Reads a planned datum; fails if it says what no plan may say.
    pub(crate) fn parse(datum: &PlanDatum) -> Result<Self, StageError> {
        let members = datum.members.iter().map(Member::parse).collect::<Result<_, _>>()?;
        Ok(Self { members })
    }

    /// Fetches all members to `folder/<mount>/<path>`: files 0444 or 0555, readable by any user.
    pub(crate) async fn stage(&self, store: &Store, folder: &Path) -> Result<(), StageError> {
        make_folder(folder, 0o700).map_err(|error| StageError::io(folder, error))?;
        for member in &self.members {
            let mut at = folder.join(&member.mount);
            let mut names = member.path.names().peekable();
            // The mount itself is checked out only where it is the member; else it is made here.
            while names.peek().is_some() || member.entry.is_none() {
                make_folder(&at, 0o755).map_err(|error| StageError::io(&at, error))?;
                match names.next() {
                    Some(name) => at.push(name),
                    None => break,
                }
            }
            if let Some(entry) = &member.entry {
                store.checkout(entry, &at).await?;
            }
        }
        Ok(())
    }

    /// What the path `names` below `/pfs` was staged as; the first name is the mount.
    pub(crate) async fn find(&self, store: &Store, names: &[String]) -> Result<Staged, varve_store::Error> {
        let Some((mount, names)) = names.split_first() else { return Ok(Staged::Above) };
        let Ok(path) = RepoPath::parse(&names.join("/")) else { return Ok(Staged::Missing) };
        let mut staged = Staged::Missing;
        for member in self.members.iter().filter(|member| member.mount == *mount) {
            let Some(below) = path.strip_prefix(&member.path) else {
                if member.path.starts_with(&path) {
                    staged = Staged::Above;
                }
                continue;
            };
            match &member.entry {
                Some(entry) if below.is_root() => return Ok(Staged::Entry(entry.clone())),
                Some(Entry::Directory(node)) => {
                    if let Some(entry) = store.find(node, &below).await? {
                        return Ok(Staged::Entry(entry));
                    }
                }
                _ => {}
            }
        }
        Ok(staged)
    }
}

impl Member {
    fn parse(member: &PlanMember) -> Result<Self, StageError> {
        let wrong = |why: String| StageError::Plan(format!("input {} at /{}: {why}", member.input, member.path));
        check_name(member.mount.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let path = RepoPath::parse(&member.path).map_err(|error| wrong(error.to_string()))?;
        let entry = if member.absent { None } else { Some(entry(member).map_err(|error| wrong(error.to_string()))?) };
        Ok(Self { mount: member.mount.clone(), path, entry })
    }
}

fn entry(member: &PlanMember) -> Result<Entry, DecodeError> {
    let kind = member.kind()?;
    let totals = Totals { files: member.files, bytes: member.bytes };
    let unknown = DecodeError::Unknown { what: "planned member", field: "kind", value: member.kind };
    Entry::from_parts(kind, member.id()?, totals, member.at()?).ok_or(unknown)
}
