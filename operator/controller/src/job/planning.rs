//! What a Job has to do: the datums that differ from the last result, and which of them the memo knows.
//!
//! Planning is a pure function of things that stand still while the Job lives (`docs/decisions/0072`), so an
//! operator that starts simply plans again. Where the output's head was made by the same spec over inputs of
//! the same shape, the inputs' trees are compared at glob depth and the cost is that of the change; else every
//! datum is listed once and compared with the head's `datums`, by key.

use std::{collections::HashMap, num::NonZeroU64, pin::pin};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use varve_api::{Job, conditions::Reason};
use varve_engine::{
    config::JobConfig,
    datums::{self, Datum, DatumChange, DatumError, Expansion, LeafFacts},
    inputs::{InputTree, Leaf},
    matches::{Match, MatchChange, changed_match},
};
use varve_format::{BranchName, DatumKey, DatumRow, Hash, Location, MapKind, records::MemoEntry};
use varve_store::{Commit, NodeRef, Store};

use super::{
    batch::output_uid,
    config, convert,
    inputs::{At, Input, Target, at_head, inputs, read_total},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    pipeline::observe::{digest_with, recorded_tree},
};

/// Rows of the last result looked up at once.
const LOOKUPS_IN_FLIGHT: usize = 32;
/// Datums made between two pauses in which others have their turn: leases are renewed on the same threads.
const DATUMS_AT_A_TIME: usize = 4096;
/// Datum hashes given to one lookup in the memo.
const MEMO_BATCH: usize = 10_000;

/// A datum that differs from the last result.
#[derive(Clone, Debug)]
pub(crate) struct PlannedDatum {
    /// Which.
    pub(crate) key: DatumKey,
    /// Its row in the last result, and where its output lies.
    pub(crate) before: Option<(DatumRow, Option<Location>)>,
    /// What it is now; none if it went.
    pub(crate) after: Option<Datum>,
    /// Its result, where the memo knows it.
    pub(crate) memo: Option<MemoEntry>,
}

/// What a Job has to do.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The spec digest.
    pub(crate) spec_digest: Hash,
    /// What it reads of `ConfigMap`s.
    pub(crate) config: JobConfig,
    /// The inputs, in the order of their names.
    pub(crate) inputs: Vec<Input>,
    /// What the output's head was: the new commit's parent.
    pub(crate) base: Option<At>,
    /// The datums that differ, sorted by key.
    pub(crate) datums: Vec<PlannedDatum>,
    /// All datums of the inputs.
    pub(crate) total: u64,
}

impl Planned {
    /// The commit that outputs are merged into. What no Job made has no datums: it is replaced, not merged with.
    pub(crate) fn merge_base(&self) -> Option<&Commit> {
        self.base.as_ref().map(|base| base.commit.as_ref()).filter(|commit| commit.identity.provenance.is_some())
    }

    /// The datums that must be run.
    pub(crate) fn to_run(&self) -> impl Iterator<Item = &Datum> {
        self.datums.iter().filter(|datum| datum.memo.is_none()).filter_map(|datum| datum.after.as_ref())
    }
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum PlanFailure {
    /// The Job can never be planned: its inputs make datums that may not be.
    Never(Reason, String),
    /// Something else went wrong, which may pass.
    Error(Error),
}

impl From<Error> for PlanFailure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<DatumError> for PlanFailure {
    fn from(error: DatumError) -> Self {
        Self::Never(error.reason(), error.to_string())
    }
}

/// Plans a Job.
pub(crate) async fn plan(job: &Job, cx: &Cx, target: &Target) -> Result<Planned, PlanFailure> {
    let snapshot = &job.spec.snapshot;
    let tree = InputTree::parse(&job.spec.pipeline, &snapshot.spec)
        .map_err(|error| PlanFailure::Never(error.reason(), error.to_string()))?;
    let config = config::read(job, cx).await?;
    let spec_digest = digest_with(snapshot, &config.contents())?;
    let inputs = inputs(job, cx, target, &tree).await?;
    let base = at_head(cx, target, &target.branch).await?;
    if base.as_ref().is_some_and(|base| output_uid(job).is_ok_and(|uid| base.head.commit == uid)) {
        // It was published a moment ago: nothing may be planned on top of a Job's own commit.
        let (repo, branch) = (target.repo.name_any(), target.branch.to_string());
        return Err(Error::HeadMoved { repo, branch }.into());
    }
    let limit = NonZeroU64::new(snapshot.spec.datum.limit).unwrap_or(NonZeroU64::MAX);
    let planner = Planner { store: &target.store, tree: &tree, spec_digest, inputs: &inputs, limit };
    let incremental = match &base {
        Some(base) => planner.base_trees(&job.spec.pipeline, base).await?,
        None => None,
    };
    let is_incremental = incremental.is_some();
    let (mut datums, total) = match (&base, incremental) {
        (Some(base), Some(trees)) => planner.incremental(base, &trees).boxed().await?,
        (base, _) => planner.full(base.as_ref()).boxed().await?,
    };
    look_up(cx, target, &mut datums).await?;
    tracing::debug!(
        job = job.name_any(),
        base = base.as_ref().map(|base| base.head.seq),
        is_incremental,
        total,
        differ = datums.len(),
        remembered = datums.iter().filter(|datum| datum.memo.is_some()).count(),
        "planned"
    );
    Ok(Planned { spec_digest, config, inputs, base, datums, total })
}

/// What datums are made from.
struct Planner<'a> {
    store: &'a Store,
    tree: &'a InputTree,
    spec_digest: Hash,
    inputs: &'a [Input],
    limit: NonZeroU64,
}

impl Planner<'_> {
    /// The trees that the base was made from, where planning by their change is right.
    async fn base_trees(&self, pipeline: &str, base: &At) -> Result<Option<Vec<NodeRef>>> {
        let identity = &base.commit.identity;
        let Some(provenance) = &identity.provenance else { return Ok(None) };
        let is_same_spec = provenance.spec_digest().is_ok_and(|digest| digest == self.spec_digest);
        if !is_same_spec || !recorded_tree(identity, pipeline).is_some_and(|tree| tree.has_shape_of(self.tree)) {
            return Ok(None);
        }
        let mut trees = Vec::with_capacity(self.tree.leaves().len());
        for leaf in self.tree.leaves() {
            let Some(input) = provenance.inputs.iter().find(|input| input.name == leaf.name) else { return Ok(None) };
            let (Ok(repo), Ok(uid)) = (input.repo_uid(), input.commit()) else { return Ok(None) };
            let found =
                self.store.find_commit(repo, uid).await.map_err(Error::store(format_args!("read commit {uid}")))?;
            let Some(commit) = found else { return Ok(None) };
            trees.push(commit.tree());
        }
        Ok(Some(trees))
    }

    /// The datums that differ, from what differs in the inputs' trees.
    async fn incremental(&self, base: &At, trees: &[NodeRef]) -> Result<(Vec<PlannedDatum>, u64), PlanFailure> {
        let mut facts: Vec<LeafFacts> = Vec::new();
        for ((leaf, input), before) in self.tree.leaves().iter().zip(self.inputs).zip(trees) {
            let changes = self.changes(leaf, Some(before), &input.commit.tree()).await?;
            facts.push(LeafFacts { changes, all: None });
        }
        let has_changes: Vec<bool> = facts.iter().map(|facts| !facts.changes.is_empty()).collect();
        let needed = datums::full_lists_needed(self.tree, &has_changes);
        for (index, leaf) in self.tree.leaves().iter().enumerate().filter(|(index, _)| needed[*index]) {
            facts[index].all = Some(self.all(leaf, &self.inputs[index]).await?);
        }
        let mut changes: Vec<DatumChange> = Vec::new();
        for change in Expansion::incremental(self.tree, self.spec_digest, facts, self.limit) {
            changes.push(change?);
            give_way(changes.len()).await;
        }
        let rows = base.commit.map(&MapKind::DATUMS);
        let lookups = stream::iter(changes).map(|change| async move {
            let before = match rows {
                Some(rows) if change.existed => self.row(rows, &change.key).await?,
                _ => None,
            };
            Ok::<_, Error>(PlannedDatum { key: change.key, before, after: change.after, memo: None })
        });
        let datums: Vec<PlannedDatum> = lookups
            .buffered(LOOKUPS_IN_FLIGHT)
            .try_filter(|datum| std::future::ready(differs(datum)))
            .try_collect()
            .await?;
        let came = datums.iter().filter(|datum| datum.before.is_none()).count() as u64;
        let went = datums.iter().filter(|datum| datum.after.is_none()).count() as u64;
        let total = (self.base_total(base).await? + came).saturating_sub(went);
        if total > self.limit.get() {
            return Err(DatumError::TooMany { count: Some(total.into()), limit: self.limit.get() }.into());
        }
        Ok((datums, total))
    }

    /// The datums that differ, from all of them.
    async fn full(&self, base: Option<&At>) -> Result<(Vec<PlannedDatum>, u64), PlanFailure> {
        let mut all = Vec::new();
        for (leaf, input) in self.tree.leaves().iter().zip(self.inputs) {
            all.push(self.all(leaf, input).await?);
        }
        let expansion = Expansion::full(self.tree, self.spec_digest, all, self.limit)?;
        let rows = match base.and_then(|base| base.commit.map(&MapKind::DATUMS)) {
            Some(rows) => self.store.map_scan(rows, &MapKind::DATUMS, None),
            None => stream::empty().boxed(),
        };
        let mut rows = pin!(rows.map_err(Error::store("read the datums of the last result")).peekable());
        let (mut datums, mut total) = (Vec::new(), 0_usize);
        for change in expansion {
            let DatumChange { key, after, .. } = change?;
            total += 1;
            give_way(total).await;
            while let Some(row) = rows.as_mut().next_if(|row| is_before(row, &key)).await {
                datums.push(gone(row?)?);
            }
            let same = rows.as_mut().next_if(|row| row.as_ref().is_ok_and(|(at, _)| at == key.as_bytes())).await;
            let before = same.transpose()?.map(|(key, value)| read_row(&key, &value)).transpose()?;
            let datum = PlannedDatum { key, before, after, memo: None };
            if differs(&datum) {
                datums.push(datum);
            }
        }
        while let Some(row) = rows.as_mut().next().await {
            datums.push(gone(row?)?);
        }
        Ok((datums, total as u64))
    }

    /// The matches of a leaf that differ between two trees.
    async fn changes(&self, leaf: &Leaf, before: Option<&NodeRef>, after: &NodeRef) -> Result<Vec<MatchChange>> {
        let what = || format!("compare the trees of input {}", leaf.name);
        let mut changes = self.store.diff(before, Some(after), convert::depth(&leaf.glob));
        let mut found = Vec::new();
        while let Some(change) = changes.try_next().await.map_err(Error::store(what()))? {
            found.extend(changed_match(&leaf.glob, convert::change(change)));
        }
        Ok(found)
    }

    /// All matches of a leaf.
    async fn all(&self, leaf: &Leaf, input: &Input) -> Result<Vec<Match>> {
        let changes = self.changes(leaf, None, &input.commit.tree()).await?;
        let found = changes.into_iter().filter_map(|change| Some(Match { path: change.path, object: change.after? }));
        Ok(found.collect())
    }

    async fn row(&self, rows: &NodeRef, key: &DatumKey) -> Result<Option<(DatumRow, Option<Location>)>> {
        let found = self
            .store
            .map_get(rows, &MapKind::DATUMS, key.as_bytes())
            .await
            .map_err(Error::store(format_args!("look up datum {key} in the last result")))?;
        found.map(|value| read_row(key.as_bytes(), &value)).transpose()
    }

    /// How many datums the base stands for: its Job's record says it; else they are counted.
    async fn base_total(&self, base: &At) -> Result<u64> {
        if let Some(total) = read_total(self.store, &base.commit).await? {
            return Ok(total);
        }
        let Some(rows) = base.commit.map(&MapKind::DATUMS) else { return Ok(0) };
        let rows = self.store.map_scan(rows, &MapKind::DATUMS, None);
        rows.try_fold(0, |count, _| std::future::ready(Ok(count + 1)))
            .await
            .map_err(Error::store("count the datums of the last result"))
    }
}

/// Lets others have their turn, once in a while.
async fn give_way(done: usize) {
    if done.is_multiple_of(DATUMS_AT_A_TIME) {
        tokio::task::yield_now().await;
    }
}

type Row = (Bytes, varve_store::Value);

fn is_before(row: &Result<Row>, key: &DatumKey) -> bool {
    match row {
        Ok((at, _)) => at < key.as_bytes(),
        Err(_) => true,
    }
}

fn read_row(key: &Bytes, value: &varve_store::Value) -> Result<(DatumRow, Option<Location>)> {
    let row = DatumRow::decode(&value.bytes).map_err(|error| {
        Error::stalled(Reason::StoreCorrupt, format!("datum {} of the last result: {error}", hex::encode(key)))
    })?;
    Ok((row, value.refs.first().cloned()))
}

fn gone((key, value): Row) -> Result<PlannedDatum> {
    let before = Some(read_row(&key, &value)?);
    let key = DatumKey::from_bytes(key)
        .map_err(|error| Error::stalled(Reason::StoreCorrupt, format!("a datum key of the last result: {error}")))?;
    Ok(PlannedDatum { key, before, after: None, memo: None })
}

/// Whether a datum's result may differ from the last one.
fn differs(datum: &PlannedDatum) -> bool {
    match (&datum.before, &datum.after) {
        (Some((before, _)), Some(after)) => before.hash != after.hash,
        (None, None) => false,
        _ => true,
    }
}

/// Asks the memo for every datum that would have to be run.
async fn look_up(cx: &Cx, target: &Target, datums: &mut [PlannedDatum]) -> Result<()> {
    let hashes: Vec<Hash> = datums.iter().filter_map(|datum| Some(datum.after.as_ref()?.hash)).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    let Some(memo) = at_head(cx, target, &BranchName::MEMO).await? else { return Ok(()) };
    let Some(map) = memo.commit.map(&MapKind::MEMO) else { return Ok(()) };
    let mut found: HashMap<Hash, MemoEntry> = HashMap::new();
    for batch in hashes.chunks(MEMO_BATCH) {
        found.extend(target.store.memo_lookup(map, batch).await.map_err(Error::store("look results up in the memo"))?);
    }
    for datum in datums {
        datum.memo = datum.after.as_ref().and_then(|after| found.get(&after.hash).cloned());
    }
    Ok(())
}
