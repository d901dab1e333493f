//! What the keeper of one pod does: it runs what is left of its shard, datum by datum, and records how each ended.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::Duration;

use futures::TryStreamExt;
use uuid::Uuid;
use varve_format::records::{DatumResult, NodeRef as NodeRecord, PlanDatum, ResultState, ShardResults, Task};
use varve_format::{Hash, MapKind, RepoPath};
use varve_store::{Entry, Environment, NodeRef, ResultKey, Store, TreeEdit};

use super::pods::Fate;
use super::{Workers, output};
use crate::world::World;

/// The longest that a datum takes, where it doesn't hang.
const LONGEST_DATUM: Duration = Duration::from_secs(30);
/// Datums that one record holds at most.
const RECORD: usize = 3;
/// A try fails for no reason once in so many; the last one never does.
const TRY_FAILS: u32 = 20;
/// A try hangs once in so many, where there is a time limit.
const TRY_HANGS: u32 = 20;

/// A keeper, with its pod's fate.
pub(super) struct Keeper<'a> {
    pub(super) workers: &'a Workers,
    pub(super) world: &'a World,
    pub(super) job: Uuid,
    /// Its name.
    pub(super) name: &'a str,
    pub(super) plan: Hash,
    pub(super) shard: u32,
    pub(super) pod: Uuid,
    pub(super) fate: Fate,
}

/// A datum that waits, and the tries that it has used.
type Waiting<'a> = (&'a PlanDatum, u32);

impl Keeper<'_> {
    /// Runs what is left of the shard. True where the pod says that it is done.
    pub(super) async fn run(&self) -> Result<bool, Box<dyn Error>> {
        let store = self.world.store().await?;
        let plan = store.get_plan_header(self.job, &self.plan).await?;
        let task = plan.task.clone().unwrap_or_default();
        let shard = store.get_plan_shard(self.job, &self.plan, self.shard).await?;
        let mut waiting = self.waiting(&store, &shard.datums).await?;
        let all = waiting.len();
        let steps = if self.fate == Fate::Well { usize::MAX } else { self.workers.chance.below(all + 1) };
        let (mut results, mut records) = (Vec::new(), 0);
        for _ in 0..steps {
            let Some((datum, tries)) = waiting.pop_front() else { break };
            let result = self.attempt(&store, &task, datum, tries).await?;
            if result.state() == ResultState::TryFailed {
                waiting.push_back((datum, result.tries));
            }
            results.push(result);
            if results.len() >= RECORD || self.workers.chance.once_in(3) {
                self.record(&store, &mut results, &mut records).await?;
            }
        }
        if matches!(self.fate, Fate::Killed | Fate::Lost) {
            return Ok(false); // what is not recorded is lost
        }
        self.record(&store, &mut results, &mut records).await?;
        Ok(waiting.is_empty() || self.fate == Fate::Lies)
    }

    /// The datums of the shard that have not ended, by what is recorded.
    async fn waiting<'d>(&self, store: &Store, datums: &'d [PlanDatum]) -> varve_store::Result<VecDeque<Waiting<'d>>> {
        let keys = store.list_shard_results(self.job, self.shard).await?;
        let recorded: Vec<(ResultKey, ShardResults)> = store.read_results(self.job, keys).try_collect().await?;
        let mut tries: BTreeMap<&[u8], Option<u32>> = BTreeMap::new();
        for result in recorded.iter().flat_map(|(_, results)| &results.datums) {
            let used = tries.entry(&result.hash).or_insert(Some(0));
            let ended = result.state() != ResultState::TryFailed;
            *used = if ended { None } else { used.map(|used| used.max(result.tries)) };
        }
        let left = datums.iter().filter_map(|datum| {
            let used = tries.get(datum.hash.as_slice()).copied().unwrap_or(Some(0))?;
            Some((datum, used.max(datum.tries_used)))
        });
        Ok(left.collect())
    }

    async fn record(
        &self,
        store: &Store,
        results: &mut Vec<DatumResult>,
        records: &mut u64,
    ) -> varve_store::Result<()> {
        if results.is_empty() {
            return Ok(());
        }
        let record = ShardResults { format: 1, datums: std::mem::take(results) };
        let key = ResultKey { shard: self.shard, pod: self.pod, n: *records };
        store.put_results(self.job, key, &record).await?;
        *records += 1;
        for datum in &record.datums {
            let (what, state) = (String::from_utf8_lossy(&datum.key), datum.state());
            self.workers
                .trace
                .say("worker", format!("{}: recorded {what}, {state:?} at try {}", self.name, datum.tries));
        }
        self.workers.memory.ends(self.job, &record.datums);
        Ok(())
    }

    /// One try of one datum.
    async fn attempt(
        &self,
        store: &Store,
        task: &Task,
        datum: &PlanDatum,
        used: u32,
    ) -> varve_store::Result<DatumResult> {
        self.workers.memory.begins(self.job, datum);
        let what = String::from_utf8_lossy(&datum.key);
        self.workers.trace.say("worker", format!("{}: run {what}", self.name));
        let (chance, now) = (&self.workers.chance, || self.world.environment.now_unix_ns());
        let tries = used + 1;
        let is_last = tries >= task.tries;
        let mut result = DatumResult {
            hash: datum.hash.clone(),
            key: datum.key.clone(),
            tries,
            node: "simulated".to_owned(),
            started_ns: now(),
            ..DatumResult::default()
        };
        let failed = if is_last { ResultState::Failed } else { ResultState::TryFailed };
        let hangs = task.timeout_seconds > 0 && !is_last && chance.once_in(TRY_HANGS);
        tokio::time::sleep(if hangs { Duration::from_secs(task.timeout_seconds) } else { chance.pause(LONGEST_DATUM) })
            .await;
        result.ended_ns = now();
        let members: Vec<(String, String)> = datum
            .members
            .iter()
            .filter(|member| !member.absent)
            .map(|member| (member.path.clone(), hex::encode(&member.id)))
            .collect();
        match output(&task.argv.join(" "), &members) {
            _ if hangs => (result.state, result.reason) = (failed.into(), "TimedOut".to_owned()),
            Some((name, text)) if is_last || !chance.once_in(TRY_FAILS) => {
                (result.state, result.exit_code) = (ResultState::Succeeded.into(), Some(0));
                result.output = Some(NodeRecord::from(&tree(store, &name, text).await?));
            }
            _ => {
                (result.state, result.exit_code) = (failed.into(), Some(1));
                "ExitCode".clone_into(&mut result.reason);
            }
        }
        Ok(result)
    }
}

/// A tree of one file.
async fn tree(store: &Store, name: &str, text: String) -> varve_store::Result<NodeRef> {
    let session = store.session();
    let content = session.write_bytes(text.into_bytes()).await?;
    let edits = vec![(RepoPath::parse(name)?, TreeEdit::Put(Entry::file(content)))];
    let tree = session.edit_tree(&NodeRef::empty(&MapKind::TREE), edits).await?;
    session.flush().await?;
    Ok(tree)
}
