//! Pumps the facts that [`varve_engine::commit`] asks for, and turns its edits into a tree.
//!
//! What a Commit draws on besides its branch (`ConfigMaps`, copies, what was fetched) is looked up once and
//! kept when the edits are made again on another head; what stands on the branch is looked up each time.
//! Copies go by reference: no byte moves. Cost is proportional to the changes, and for a glob to what lies
//! below its fixed beginning.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use varve_api::{
    commit::{Commit, ResolvedReference},
    conditions::Reason,
};
use varve_engine::{
    Object,
    commit::{self, CommitError, Edit, Facts, Need, Place, Progress, Tree},
    glob::{self, Glob},
    matches::Match,
    plan::ConfigMapContent,
};
use varve_format::{MapKind, RepoPath, Totals, records::ImportResults};
use varve_store::{ContentRef, Depth, Entry, Error as StoreError, NodeRef, Session, Store, TreeEdit};

use super::repo;
use crate::{
    cx::Cx,
    error::{Error, Result},
    references,
};

/// What a Commit draws on besides its branch.
#[derive(Default)]
pub(super) struct Sources {
    facts: Facts,
    /// What names in the spec stood for.
    pub(super) resolved: Vec<ResolvedReference>,
}

/// Reads what the import pod fetched into `sources`.
pub(super) fn imported(commit: &Commit, results: &ImportResults, sources: &mut Sources) -> Result<()> {
    let mut files = Vec::with_capacity(results.edits.len());
    for edit in &results.edits {
        let path = RepoPath::parse(&edit.path).map_err(CommitError::from)?;
        let unreadable = |source| StoreError::Decode { what: format!("the import of {path}"), source };
        let kind = edit.kind().map_err(unreadable).map_err(Error::store("read the import's results"))?;
        let content =
            edit.content.as_ref().ok_or_else(|| Error::Bug(format!("the import of {path} has no content")))?;
        let content = ContentRef::try_from(content).map_err(Error::store("read the import's results"))?;
        let object = Object { kind, id: content.id, files: 1, bytes: content.size, at: content.at };
        files.push((path, object));
    }
    let changes = commit.spec.changes.as_deref().unwrap_or_default();
    sources.facts.imports = Some(commit::attribute(changes, files)?);
    Ok(())
}

/// Makes the Commit's changes on `base`.
pub(super) async fn apply(
    cx: &Cx,
    commit: &Commit,
    session: &Session,
    base: &NodeRef,
    sources: &mut Sources,
) -> Result<NodeRef> {
    let changes = commit.spec.changes.as_deref().unwrap_or_default();
    let mut facts = sources.facts.clone();
    loop {
        match commit::resolve(changes, &facts)? {
            Progress::Done(edits) => return write(session, base, edits).await,
            Progress::Needs(needs) => {
                for need in needs {
                    match need {
                        Need::Find(place) => {
                            let found = find(session.store(), base, &place).await?;
                            facts.found(place, found);
                        }
                        Need::Matches { tree, glob } => {
                            let found = matches(session.store(), base, &tree, &glob).await?;
                            facts.matches(tree, glob, found);
                        }
                        need => {
                            source(cx, commit, session.store(), need, sources).await?;
                            facts.config_maps.clone_from(&sources.facts.config_maps);
                            facts.missing_config_maps.clone_from(&sources.facts.missing_config_maps);
                            facts.copies.clone_from(&sources.facts.copies);
                        }
                    }
                }
            }
        }
    }
}

/// Looks up one thing that does not depend on the branch.
async fn source(cx: &Cx, commit: &Commit, store: &Store, need: Need, sources: &mut Sources) -> Result<()> {
    match need {
        Need::ConfigMap(name) => {
            let api: Api<ConfigMap> =
                Api::namespaced(cx.clients.write.clone(), &commit.namespace().unwrap_or_default());
            let found = api.get_opt(&name).await.map_err(Error::api(format_args!("get ConfigMap {name}")))?;
            match found {
                Some(map) => sources.facts.config_maps.insert(name, content(map)).map_or((), drop),
                None => drop(sources.facts.missing_config_maps.insert(name)),
            }
            Ok(())
        }
        Need::Copy { change, repo: from, commit: reference, path } => {
            let field = format!("changes[{change}].copy.from");
            let from = from.unwrap_or_else(|| commit.spec.repo.clone());
            let (uid, entry) = copied(cx, commit, store, &field, (&from, &reference, &path)).await?;
            sources.facts.copies.insert(change, entry.as_ref().map(object));
            let field = format!("{field}.commit");
            sources.resolved.push(ResolvedReference { field, reference, repo: from, commit: uid });
            Ok(())
        }
        Need::Imports => Err(Error::Bug("what was imported is read before the edits are made".into())),
        Need::Find(_) | Need::Matches { .. } => Err(Error::Bug("this depends on the branch".into())),
    }
}

async fn copied(
    cx: &Cx,
    commit: &Commit,
    store: &Store,
    field: &str,
    (from_name, reference, path): (&str, &str, &RepoPath),
) -> Result<(String, Option<Entry>)> {
    let from = repo(commit, cx, from_name)?;
    let namespace = commit.namespace().unwrap_or_default();
    let connection = cx.stores.open(&namespace, Some(&from.spec.store_ref.name)).await?;
    if connection.store.id() != store.id() {
        return Err(Error::stalled(
            Reason::StoresDiffer,
            format!(
                "{field}: Repo {from_name} lies in another store (Secret {}) than Repo {}, and copy moves no bytes: \
                 use put.objectStore, or Repos of one store",
                connection.secret, commit.spec.repo
            ),
        ));
    }
    let source = references::find(cx, store, &from, reference, &format!("{field}.commit")).await?;
    let tree = source.map(&MapKind::TREE).cloned().unwrap_or_else(|| NodeRef::empty(&MapKind::TREE));
    let entry = store.find(&tree, path).await.map_err(Error::store(format_args!("look up {path}")))?;
    // A directory without files does not exist, an empty root neither.
    let entry = entry.filter(|entry| entry.files() > 0);
    Ok((source.uid.to_string(), entry))
}

async fn find(store: &Store, base: &NodeRef, place: &Place) -> Result<Option<Object>> {
    let failed = || Error::store(format!("look up {}", place.path));
    let found = match &place.tree {
        Tree::Parent => store.find(base, &place.path).await.map_err(failed())?,
        Tree::Copied { at, directory } => match place.path.strip_prefix(at) {
            Some(below) => store.find(&node(directory), &below).await.map_err(failed())?,
            None => None,
        },
    };
    Ok(found.as_ref().map(object))
}

/// What a glob matches in a tree. The list is as long as what is deleted.
async fn matches(store: &Store, base: &NodeRef, tree: &Tree, glob: &Glob) -> Result<Vec<Match>> {
    let failed = || Error::store("walk the tree");
    let invalid = |error: varve_format::NameError| Error::from(CommitError::from(error));
    let (root, at) = match tree {
        Tree::Parent => (base.clone(), RepoPath::ROOT),
        Tree::Copied { at, directory } => (node(directory), at.clone()),
    };
    // From here on everything lies below `from`, counted from the commit's root.
    let prefix = glob.prefix();
    let (root, from) = if prefix.starts_with(&at) {
        let below = prefix.strip_prefix(&at).unwrap_or_default();
        match store.find(&root, &below).await.map_err(failed())? {
            Some(Entry::Directory(root)) => (root, prefix),
            _ => return Ok(Vec::new()),
        }
    } else if glob.may_match_below(&at) || at.starts_with(&prefix) {
        (root, at)
    } else {
        return Ok(Vec::new());
    };
    let depth = match glob.depth() {
        glob::Depth::AnyFile => Depth::Full,
        glob::Depth::Exactly(depth) => {
            let Some(left) = depth.checked_sub(from.names().count()) else { return Ok(Vec::new()) };
            Depth::Components(u32::try_from(left).unwrap_or(u32::MAX))
        }
    };
    let mut walk = store.walk_to(&root, depth);
    let mut found = Vec::new();
    while let Some((below, entry)) = walk.try_next().await.map_err(failed())? {
        let path = from.join_path(&below).map_err(invalid)?;
        let object = object(&entry);
        if glob.matches(&path, &object) {
            found.push(Match { path, object });
        }
    }
    Ok(found)
}

async fn write(session: &Session, base: &NodeRef, edits: Vec<(RepoPath, Edit)>) -> Result<NodeRef> {
    let mut made = Vec::with_capacity(edits.len());
    for (path, edit) in edits {
        let edit = match edit {
            Edit::Delete => TreeEdit::Delete,
            Edit::Write(bytes) => TreeEdit::Put(Entry::file(session.write_bytes(bytes).await.map_err(refused)?)),
            Edit::Put(object) => {
                let totals = Totals { files: object.files, bytes: object.bytes };
                let entry = Entry::from_parts(object.kind, object.id, totals, object.at);
                TreeEdit::Put(entry.ok_or_else(|| Error::Bug(format!("{path}: a {:?} is no entry", object.kind)))?)
            }
        };
        made.push((path, edit));
    }
    session.edit_tree(base, made).await.map_err(refused)
}

fn object(entry: &Entry) -> Object {
    Object { kind: entry.kind(), id: entry.id(), files: entry.files(), bytes: entry.bytes(), at: entry.at().clone() }
}

fn node(directory: &Object) -> NodeRef {
    NodeRef { id: directory.id, files: directory.files, bytes: directory.bytes, at: directory.at.clone() }
}

fn content(map: ConfigMap) -> ConfigMapContent {
    let binary = map.binary_data.unwrap_or_default();
    ConfigMapContent {
        data: map.data.unwrap_or_default(),
        binary_data: binary.into_iter().map(|(key, bytes)| (key, bytes.0)).collect(),
    }
}

/// An edit that cannot be: the user's path, said in the store's words.
pub(super) fn refused(error: StoreError) -> Error {
    Error::store("edit the tree")(error)
}
