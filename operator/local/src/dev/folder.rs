//! Folders that become Commits: a Repo with annotation `varve.dev/folder` has the files of that folder on this machine,
//! committed whenever they change. A cluster does not read the annotation.
//!
//! What has changed is told by size and time of change, as git tells it; only such files are read.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures::TryStreamExt;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use notify::RecursiveMode;
use varve_api::commit::{CommitSpec, UploadedTree};
use varve_api::conditions::{self, HasConditions as _, Type};
use varve_api::labels;
use varve_api::meta::FrameRef;
use varve_format::{Hash, Location, MapKind, RepoPath};
use varve_store::{Commit, Entry, NodeRef, Session, Store, TreeEdit};

use super::Error;
use super::files::Changes;
use super::looks::Looks;
use super::show::Screen;
use super::stores::{self, Stores};

/// How a file looked when it was last read: device-independent, and changed by every write.
type Look = (u64, Option<SystemTime>, u64, u32);

/// The branch that a folder is committed to.
const BRANCH: &str = "main";
/// How often files are committed again after something else has moved the branch at that very moment.
const ATTEMPTS: u32 = 3;

/// One Repo's folder.
struct Folder {
    namespace: String,
    repo: String,
    path: PathBuf,
    /// The file that names it.
    named_in: PathBuf,
    /// Files as they were when they were last committed, where that is known.
    seen: Option<BTreeMap<RepoPath, Look>>,
    /// Whether it is told when a file changes.
    is_watched: bool,
}

/// All of them.
pub(super) struct Folders {
    client: Client,
    stores: Arc<Stores>,
    all: BTreeMap<(String, String), Folder>,
    changes: Changes,
}

impl Folders {
    pub(super) fn new(client: Client, stores: Arc<Stores>) -> Self {
        Self { client, stores, all: BTreeMap::new(), changes: Changes::new(|_| true) }
    }

    /// Takes the folder that a Repo names, relative to the file that the Repo stands in.
    pub(super) fn take(&mut self, repo: &DynamicObject, file: &Path) {
        let key = (repo.namespace().unwrap_or_default(), repo.name_any());
        let Some(named) = repo.annotations().get(labels::FOLDER) else {
            self.all.remove(&key);
            return;
        };
        let path = file.parent().unwrap_or(Path::new(".")).join(named);
        if self.all.get(&key).is_some_and(|known| known.path == path) {
            return;
        }
        let (namespace, repo) = key.clone();
        let named_in = file.to_owned();
        self.all.insert(key, Folder { namespace, repo, path, named_in, seen: None, is_watched: false });
    }

    /// Waits until a file in one of them may have changed.
    pub(super) async fn changed(&mut self) {
        self.changes.changed().await;
    }

    /// Commits what differs from the head of each Repo's branch `main`.
    /// True where any can't be; why, is on the screen.
    pub(super) async fn commit_changed(&mut self, looks: &Looks, screen: &Screen) -> bool {
        let mut is_refused = false;
        for folder in self.all.values_mut() {
            folder.watch(&mut self.changes);
            if let Err(error) = folder.commit(&self.client, &self.stores, looks).await {
                is_refused = true;
                let Folder { named_in, repo, .. } = folder;
                screen.refuse(&format!("{}: Repo {repo}: annotation {}: {error}", named_in.display(), labels::FOLDER));
            }
        }
        is_refused
    }
}

impl Folder {
    /// Watches the folder, or as long as that is not there the one in which it will be.
    fn watch(&mut self, changes: &mut Changes) {
        let was_watched = std::mem::replace(&mut self.is_watched, self.path.is_dir());
        if self.is_watched {
            if !was_watched {
                changes.watch(&self.path, RecursiveMode::Recursive);
            }
        } else if let Some(above) = self.path.ancestors().skip(1).find(|above| above.is_dir()) {
            changes.watch(above, RecursiveMode::NonRecursive);
        }
    }

    async fn commit(&mut self, client: &Client, stores: &Stores, looks: &Looks) -> Result<(), Error> {
        if !self.path.is_dir() {
            return Err(Error::NoFolder { path: self.path.clone() });
        }
        let mut attempts = 1..=ATTEMPTS;
        loop {
            match self.try_to_commit(client, stores, looks).await {
                Err(Error::NotLanded { .. }) if attempts.next().is_some() => self.seen = None,
                ended => return ended,
            }
        }
    }

    async fn try_to_commit(&mut self, client: &Client, stores: &Stores, looks: &Looks) -> Result<(), Error> {
        let found = scan(&self.path).map_err(Error::file("read", &self.path))?;
        if self.seen.as_ref() == Some(&found) {
            return Ok(());
        }
        if self.seen.is_none() {
            self.clear(client, looks).await?;
        }
        let store = stores.of(looks, &self.namespace, &self.repo).await?;
        let repo = stores::ready(looks, &self.namespace, &self.repo).await?;
        let head = stores::head(&store, &repo, BRANCH).await?;
        let before = head.as_ref().map_or_else(|| NodeRef::empty(&MapKind::TREE), Commit::tree);
        let session = store.session();
        let edits = self.edits(&store, &session, &before, &found).await?;
        if !edits.is_empty() {
            let told = |doing: &str| Error::store(format!("{doing} {}", self.path.display()));
            let after = session.edit_tree(&before, edits).await.map_err(told("make the tree of"))?;
            if after.id != before.id {
                let root = session.place_root(&after).await.map_err(told("make the tree of"))?;
                session.flush().await.map_err(told("write the files of"))?;
                let parent = head.map(|head| head.uid.to_string());
                let commit = self.make_commit(client, &root, parent).await?;
                if !looks.has_landed(&self.namespace, &commit).await {
                    let commits: Api<varve_api::Commit> = Api::namespaced(client.clone(), &self.namespace);
                    let _ = commits.delete(&commit, &DeleteParams::default()).await; // another takes its place
                    return Err(Error::NotLanded { commit });
                }
            }
        }
        self.seen = Some(found);
        Ok(())
    }

    /// Waits for Commits that a `varve dev` made which was killed before they landed. Those whose parent is not the head
    /// any more never will, and go.
    async fn clear(&self, client: &Client, looks: &Looks) -> Result<(), Error> {
        let commits: Api<varve_api::Commit> = Api::namespaced(client.clone(), &self.namespace);
        let all = commits.list(&ListParams::default()).await.map_err(Error::api("list Commits"))?;
        let own = all.iter().filter(|commit| {
            commit.spec.repo == self.repo
                && commit.annotations().contains_key(labels::FOLDER)
                && !conditions::holds(commit.conditions(), Type::Ready)
        });
        for commit in own.map(ResourceExt::name_any) {
            if !looks.has_landed(&self.namespace, &commit).await {
                let _ = commits.delete(&commit, &DeleteParams::default()).await; // the next one holds all of it
            }
        }
        Ok(())
    }

    /// What makes `before` into the files as they are.
    async fn edits(
        &self,
        store: &Store,
        session: &Session,
        before: &NodeRef,
        found: &BTreeMap<RepoPath, Look>,
    ) -> Result<Vec<(RepoPath, TreeEdit)>, Error> {
        let told = || Error::store(format!("read Repo {}", self.repo));
        // Where nothing is remembered of the files, those of the head are compared by their content.
        let (held, seen) = match &self.seen {
            Some(seen) => (BTreeMap::new(), seen),
            None => (store.walk(before).try_collect().await.map_err(told())?, &BTreeMap::new()),
        };
        let gone = seen.keys().chain(held.keys()).filter(|path| !found.contains_key(path));
        let mut edits: Vec<_> = gone.map(|path| (path.clone(), TreeEdit::Delete)).collect();
        for (path, look) in found.iter().filter(|(path, look)| seen.get(*path) != Some(look)) {
            let executable = look.3 & 0o100 != 0;
            let file = self.path.join(path.as_str());
            if let Some(Entry::File { executable: was, content }) = held.get(path)
                && *was == executable
                && hash(&file).map_err(Error::file("read", &file))? == content.id
            {
                continue;
            }
            let opened = tokio::fs::File::open(&file).await.map_err(Error::file("read", &file))?;
            let content = session.write_content(opened).await.map_err(told())?;
            edits.push((path.clone(), TreeEdit::Put(Entry::File { executable, content })));
        }
        Ok(edits)
    }

    /// Made on `parent`: where something else has landed since that was read, this one may not undo it.
    async fn make_commit(&self, client: &Client, root: &NodeRef, parent: Option<String>) -> Result<String, Error> {
        let Location::Pack(at) = &root.at else { return Err(Error::Ended) };
        let name = format!("{}-{}", self.repo, jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S-%3f"));
        let spec = CommitSpec {
            repo: self.repo.clone(),
            branch: BRANCH.to_owned(),
            parent,
            message: Some(format!("the files of {}", self.path.display())),
            tree: Some(UploadedTree {
                id: root.id.to_string(),
                session: uuid::Uuid::now_v7().to_string(),
                root: FrameRef { pack: at.pack.to_string(), offset: at.offset, length: at.stored },
            }),
            ..CommitSpec::default()
        };
        let commits: Api<varve_api::Commit> = Api::namespaced(client.clone(), &self.namespace);
        let mut commit = varve_api::Commit::new(&name, spec);
        commit.annotations_mut().insert(labels::FOLDER.to_owned(), self.path.display().to_string());
        let made = commits.create(&PostParams::default(), &commit).await;
        made.map_err(Error::api(format!("make Commit {name}")))?;
        Ok(name)
    }
}

/// The id of a file's content.
fn hash(file: &Path) -> std::io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(file)?)?;
    Ok(hasher.finalize().into())
}

/// All files below a folder, but those of ours; links are followed to files alone.
fn scan(root: &Path) -> std::io::Result<BTreeMap<RepoPath, Look>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
            let Ok(about) = std::fs::metadata(&path) else { continue }; // it has gone meanwhile
            let is_link = path.is_symlink();
            if about.is_dir() && !is_hidden && !is_link {
                folders.push(path);
            } else if about.is_file() && !is_hidden {
                let below = path.strip_prefix(root).ok().and_then(Path::to_str);
                let Some(below) = below.and_then(|below| RepoPath::parse(below).ok()) else {
                    let why = format!("{} has a name that no file of a Repo may have: rename it", path.display());
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
                };
                let look = (about.len(), about.modified().ok(), about.ino(), about.permissions().mode());
                found.insert(below, look);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_paths_and_hidden_ones_left_out() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::create_dir(root.path().join(".varve")).unwrap();
        for name in ["a/b/one", "two", ".hidden", ".varve/token"] {
            std::fs::write(root.path().join(name), name).unwrap();
        }
        let found: Vec<String> = scan(root.path()).unwrap().keys().map(|path| path.as_str().to_owned()).collect();
        assert_eq!(found, ["a/b/one", "two"]);
    }
}
