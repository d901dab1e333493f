//! Pumps the engine's merge with what the store knows of the parent and of the datums' outputs, then applies
//! its edits to the parent's three maps.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use varve_api::conditions::Reason;
use varve_engine::{
    Object,
    merge::{
        DatumEdit, Facts, MergeError, Merged, Need, OwnerScan, Owners, Progress, TreeChange, TreeEdit, merge, prov_key,
    },
};
use varve_format::{DatumKey, DatumRow, DatumState, Hash, Kind, Location, MapKind, RepoPath};
use varve_store::{Commit, NodeRef, Session, Store, Value};

use super::{
    convert,
    planning::{Planned, PlannedDatum},
    results::Results,
};
use crate::error::{Error, Result};

/// Facts looked up at once.
const LOOKUPS_IN_FLIGHT: usize = 32;
/// Rounds of lookups: two for each level of shared directories, and a few more.
const MAX_ROUNDS: usize = 2 * varve_engine::merge::MAX_SHARED_DEPTH + 16;

/// The maps of the new commit.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) tree: NodeRef,
    pub(crate) prov: NodeRef,
    pub(crate) datums: NodeRef,
}

/// Why outputs were not merged.
#[derive(Debug)]
pub(crate) enum MergeFailure {
    /// They can't be: two datums write one path.
    Never(Reason, String),
    /// Something else went wrong, which may pass.
    Error(Error),
}

impl From<Error> for MergeFailure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<MergeError> for MergeFailure {
    fn from(error: MergeError) -> Self {
        match error.reason() {
            Reason::StoreCorrupt => Self::Error(Error::stalled(Reason::StoreCorrupt, error.to_string())),
            reason => Self::Never(reason, error.to_string()),
        }
    }
}

/// Merges everything that `planned` found to differ, now that all of it has ended well.
pub(crate) async fn run(
    store: &Store,
    session: &Session,
    planned: &Planned,
    results: &Results,
) -> Result<Maps, MergeFailure> {
    let parent = planned.merge_base();
    // Boxed one by one: the compiler cannot see through a stream of borrowing futures otherwise.
    let edits: Vec<_> = planned.datums.iter().map(|datum| edit(store, datum, results).boxed()).collect();
    let edits: Vec<DatumEdit> = stream::iter(edits).buffered(LOOKUPS_IN_FLIGHT).try_collect().await?;
    let merged = pump(store, parent, &edits).await?;
    Ok(apply(session, parent, &edits, merged).await?)
}

/// The datum's old and new output, as the engine takes them.
async fn edit(store: &Store, datum: &PlannedDatum, results: &Results) -> Result<DatumEdit> {
    let before = match &datum.before {
        Some((row, at)) => old_output(store, &datum.key, row, at.as_ref()).await?,
        None => None,
    };
    let after = match &datum.after {
        Some(after) => Some(new_output(datum, after.hash, results)?),
        None => None,
    };
    Ok(DatumEdit { key: datum.key.clone(), before, after })
}

/// A datum's new row and output: the memo's, or the one that a pod recorded. Whoever writes nothing has an empty tree
/// for output; a result without any is none.
fn new_output(datum: &PlannedDatum, hash: Hash, results: &Results) -> Result<(DatumRow, Object)> {
    let output = match &datum.memo {
        Some(entry) => entry.output.as_ref(),
        None => results.end(datum.key.as_bytes(), &hash).and_then(|end| end.result.output.as_ref()),
    };
    let record = output.ok_or_else(|| Error::Bug(format!("datum {} is to be merged and has no output", datum.key)))?;
    let root = NodeRef::try_from(record).map_err(Error::store(format_args!("the output of datum {}", datum.key)))?;
    let row = DatumRow { hash, state: DatumState::Succeeded, output: root.id };
    Ok((row, directory(root)))
}

fn directory(root: NodeRef) -> Object {
    Object { kind: Kind::Directory, id: root.id, files: root.files, bytes: root.bytes, at: root.at }
}

/// What a datum had written. Its row names the root; how much is below stands in the root itself.
async fn old_output(store: &Store, key: &DatumKey, row: &DatumRow, at: Option<&Location>) -> Result<Option<Object>> {
    if row.output == NodeRef::empty(&MapKind::TREE).id {
        return Ok(None);
    }
    let Some(at) = at else {
        return Err(Error::stalled(
            Reason::StoreCorrupt,
            format!("the last result does not say where the output of datum {key} lies"),
        ));
    };
    let root = store.root_at(&MapKind::TREE, row.output, at.clone()).await;
    let root = root.map_err(Error::store(format_args!("read the last output of datum {key}")))?;
    Ok(Some(directory(root)))
}

/// Asks the engine, answers what it needs, and asks again until it is done.
async fn pump(store: &Store, parent: Option<&Commit>, edits: &[DatumEdit]) -> Result<Merged, MergeFailure> {
    let tree = parent.map(|parent| directory(parent.tree()));
    let mut facts = Facts::default();
    for _ in 0..MAX_ROUNDS {
        let needs = match merge(tree.as_ref(), edits, &facts)? {
            Progress::Done(merged) => return Ok(merged),
            Progress::Needs(needs) => needs,
        };
        let answers: Vec<_> = needs.into_iter().map(|need| answer(store, parent, need).boxed()).collect();
        let mut answers = stream::iter(answers).buffer_unordered(LOOKUPS_IN_FLIGHT);
        while let Some(answer) = answers.try_next().await? {
            answer.give(&mut facts);
        }
    }
    Err(Error::Bug(format!("a merge of {} datums did not come to an end", edits.len())).into())
}

/// An answer to a [`Need`].
enum Answer {
    Found(RepoPath, Option<Object>),
    List(Need, Vec<(String, Object)>),
    Owner(String, Option<DatumKey>),
    OwnersBelow(RepoPath, BTreeSet<String>, Owners),
    EntriesBelow(RepoPath, Vec<(String, DatumKey)>),
}

impl Answer {
    fn give(self, facts: &mut Facts) {
        match self {
            Self::Found(path, object) => facts.found(path, object),
            Self::List(need, names) => {
                if let Need::List(directory) = &need {
                    facts.list(directory, names);
                }
            }
            Self::Owner(key, owner) => facts.owner(key, owner),
            Self::OwnersBelow(directory, except, owners) => facts.owners_below(directory, except, owners),
            Self::EntriesBelow(directory, entries) => facts.entries_below(directory, entries),
        }
    }
}

async fn answer(store: &Store, parent: Option<&Commit>, need: Need) -> Result<Answer> {
    match need {
        Need::Find(path) => {
            let entry = match parent {
                Some(parent) => store
                    .find(&parent.tree(), &path)
                    .await
                    .map_err(Error::store(format_args!("look {path} up in the last result")))?,
                None => None,
            };
            Ok(Answer::Found(path, entry.as_ref().map(convert::object)))
        }
        Need::List(ref directory) => {
            let root = NodeRef {
                id: directory.0.id,
                files: directory.0.files,
                bytes: directory.0.bytes,
                at: directory.0.at.clone(),
            };
            let names = store.list(&root).map_ok(|(name, entry)| (name, convert::object(&entry)));
            let names = names.try_collect().await.map_err(Error::store("list a directory of an output"))?;
            Ok(Answer::List(need, names))
        }
        Need::Owner(key) => {
            let owner = match prov(parent) {
                Some(prov) => store
                    .map_get(prov, &MapKind::PROV, key.as_bytes())
                    .await
                    .map_err(Error::store("look up who wrote a path of the last result"))?
                    .map(|value| owner(value.bytes))
                    .transpose()?,
                None => None,
            };
            Ok(Answer::Owner(key, owner))
        }
        Need::OwnersBelow { directory, except } => {
            let mut scan = OwnerScan::new(&directory, &except);
            let mut entries = std::pin::pin!(below(store, parent, &directory));
            while let Some((key, owner)) = entries.try_next().await? {
                if scan.push(&key, &owner) {
                    break;
                }
            }
            let owners = scan.finish().ok_or_else(|| {
                Error::stalled(Reason::StoreCorrupt, format!("the last result does not say who wrote {directory}"))
            })?;
            Ok(Answer::OwnersBelow(directory, except, owners))
        }
        Need::EntriesBelow(directory) => {
            let own = prov_key(&directory);
            let entries = below(store, parent, &directory).try_filter(|(key, _)| std::future::ready(*key != own));
            let entries = entries.try_collect().await?;
            Ok(Answer::EntriesBelow(directory, entries))
        }
    }
}

fn prov(parent: Option<&Commit>) -> Option<&NodeRef> {
    parent?.map(&MapKind::PROV)
}

fn owner(bytes: Bytes) -> Result<DatumKey> {
    DatumKey::from_bytes(bytes)
        .map_err(|error| Error::stalled(Reason::StoreCorrupt, format!("who wrote a path of the last result: {error}")))
}

/// The entries of the parent's `prov` whose keys begin with the directory's path and `/`; all of them for the root.
fn below<'a>(
    store: &'a Store,
    parent: Option<&Commit>,
    directory: &RepoPath,
) -> impl futures::Stream<Item = Result<(String, DatumKey)>> + use<'a> {
    let prefix = Bytes::from(directory.as_directory());
    let from = Some(prefix.clone()).filter(|prefix| !prefix.is_empty());
    let entries = match prov(parent) {
        Some(prov) => store.map_scan(prov, &MapKind::PROV, from),
        None => stream::empty().boxed(),
    };
    entries
        .map_err(Error::store("read who wrote the last result"))
        .try_take_while(move |(key, _)| std::future::ready(Ok(key.starts_with(&prefix))))
        .and_then(|(key, value)| {
            let key = String::from_utf8(key.to_vec()).map_err(|_| Error::Bug("a key of prov is not UTF-8".into()));
            std::future::ready(key.and_then(|key| Ok((key, owner(value.bytes)?))))
        })
}

/// Applies the edits to the parent's maps.
async fn apply(session: &Session, parent: Option<&Commit>, edits: &[DatumEdit], merged: Merged) -> Result<Maps> {
    let Merged { tree, prov, datums } = merged;
    let told = |what: &str| Error::store(format!("write the output's {what}"));
    let root =
        |kind: &MapKind| parent.and_then(|parent| parent.map(kind)).cloned().unwrap_or_else(|| NodeRef::empty(kind));
    let tree = async {
        match tree {
            TreeChange::Empty => Ok(NodeRef::empty(&MapKind::TREE)),
            TreeChange::Root(root) => Ok(NodeRef { id: root.id, files: root.files, bytes: root.bytes, at: root.at }),
            TreeChange::Edits(edits) => {
                let edits = edits.into_iter().map(|(path, edit)| Ok((path, tree_edit(edit)?)));
                let edits = edits.collect::<Result<Vec<_>>>()?;
                session.edit_tree(&root(&MapKind::TREE), edits).await.map_err(told("tree"))
            }
        }
    };
    let prov = prov.into_iter().map(|(key, owner)| (key, owner.map(Value::new))).collect();
    let prov = async { session.edit_map(&MapKind::PROV, &root(&MapKind::PROV), prov).await.map_err(told("prov")) };
    let places: std::collections::HashMap<&Bytes, &Location> =
        edits.iter().filter_map(|edit| Some((edit.key.as_bytes(), &edit.after.as_ref()?.1.at))).collect();
    let datums = datums
        .into_iter()
        .map(|(key, row)| {
            let refs = places.get(&key).map(|&at| at.clone()).into_iter().collect();
            (key, row.map(|bytes| Value { bytes, refs }))
        })
        .collect();
    let datums =
        async { session.edit_map(&MapKind::DATUMS, &root(&MapKind::DATUMS), datums).await.map_err(told("datums")) };
    let (tree, prov, datums) = futures::try_join!(tree, prov, datums)?;
    Ok(Maps { tree, prov, datums })
}

fn tree_edit(edit: TreeEdit) -> Result<varve_store::TreeEdit> {
    Ok(match edit {
        TreeEdit::Delete => varve_store::TreeEdit::Delete,
        TreeEdit::Put(object) => {
            let entry = convert::entry(&object);
            varve_store::TreeEdit::Put(entry.ok_or_else(|| Error::Bug("an output holds what no tree may".into()))?)
        }
    })
}
