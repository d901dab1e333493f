//! What operator and pods exchange: plans and lists of what to fetch, named by their hash, and results, under keys that
//! no two pods share. What is read in part, or has no hash in its key, ends in one. Everything is written once; the same
//! bytes again are the same write again.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;
use varve_format::records::{ImportResults, Plan, PlanShard, ShardResults, decode_checked, encode_checked};
use varve_format::{Hash, keys, plan};

use crate::error::{Error, Result};
use crate::objects::Created;
use crate::store::Store;

/// Bytes of a plan read at first: nearly always its whole header.
const PLAN_START_BYTES: u64 = 64 << 10;
/// The largest blob of one shard: 256 MiB are about a million datums.
const MAX_SHARD_BYTES: u64 = 256 << 20;
/// Results read at once.
const READS_IN_FLIGHT: usize = 16;

/// Which record of results: of a shard, by a pod, its n-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultKey {
    /// The shard.
    pub shard: u32,
    /// Uid of the pod that recorded it.
    pub pod: Uuid,
    /// Counts from 0 within shard and pod.
    pub n: u64,
}

impl Store {
    /// Writes a plan and returns its hash. Plans are never overwritten: equal bytes are the same plan.
    pub async fn put_plan(&self, job: Uuid, bytes: Bytes) -> Result<Hash> {
        let id = plan::id(&bytes);
        let key = keys::plan(job, &id);
        futures::try_join!(self.objects().put_large(&key, bytes), self.check_features(true))?;
        Ok(id)
    }

    /// The header of a plan: everything but the shards' datums.
    pub async fn get_plan_header(&self, job: Uuid, id: &Hash) -> Result<Plan> {
        Ok(self.plan_header(job, id).await?.0)
    }

    /// The header, and where the shards' blobs begin.
    async fn plan_header(&self, job: Uuid, id: &Hash) -> Result<(Plan, u64)> {
        let key = keys::plan(job, id);
        let (_, start) = self.objects().get_start(&key, PLAN_START_BYTES).await?;
        let range = plan::header_range(&start).map_err(Error::decode(key.clone()))?;
        let bytes = if range.end <= start.len() as u64 {
            let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            start.slice(cut(range.start)..cut(range.end))
        } else {
            self.objects().get_range(&key, range.clone()).await?
        };
        Ok((plan::decode_header(&bytes).map_err(Error::decode(key))?, range.end))
    }

    /// The datums of one shard of a plan. A shard that the plan has not is an error.
    pub async fn get_plan_shard(&self, job: Uuid, id: &Hash, shard: u32) -> Result<PlanShard> {
        let key = keys::plan(job, id);
        let (header, end) = self.plan_header(job, id).await?;
        let range = plan::shard_range(&header, end, shard).map_err(Error::decode(key.clone()))?;
        let size = range.end - range.start;
        if size > MAX_SHARD_BYTES {
            return Err(Error::TooLarge { what: format!("shard {shard} of {key}"), size, max: MAX_SHARD_BYTES });
        }
        let bytes = if range.is_empty() { Bytes::new() } else { self.objects().get_range(&key, range).await? };
        plan::decode_shard(&header, shard, &bytes).map_err(Error::decode(key))
    }

    /// Records results, whose outputs a flush has made durable: it has read the features too. The same again is fine; other results under the same key are a conflict.
    pub async fn put_results(&self, job: Uuid, key: ResultKey, results: &ShardResults) -> Result<()> {
        let results = ShardResults { format: 1, ..results.clone() };
        self.put_once(&keys::results(job, key.shard, key.pod, key.n), encode_checked(&results).into()).await
    }

    /// Writes what an import pod is to fetch, and returns its hash: the same list is the same object.
    pub async fn put_fetch_list(&self, commit: Uuid, list: Bytes) -> Result<Hash> {
        let id = Hash::of_content(&list);
        self.put_once(&keys::fetch_list(commit, &id), list).await?;
        Ok(id)
    }

    /// What an import pod is to fetch, as it was written.
    pub async fn get_fetch_list(&self, commit: Uuid, id: &Hash) -> Result<Bytes> {
        let key = keys::fetch_list(commit, id);
        let list = self.objects().get(&key).await?;
        if Hash::of_content(&list) == *id { Ok(list) } else { Err(Error::corrupt(key, "it does not have its hash")) }
    }

    /// Records what an import pod fetched; the Commit stands in for the Job.
    pub async fn put_import(&self, commit: Uuid, pod: Uuid, n: u64, results: &ImportResults) -> Result<()> {
        let results = ImportResults { format: 1, ..results.clone() };
        self.put_once(&keys::results(commit, 0, pod, n), encode_checked(&results).into()).await
    }

    async fn put_once(&self, key: &str, bytes: Bytes) -> Result<()> {
        match self.objects().create(key, bytes).await? {
            Created::Ours => Ok(()),
            Created::Stands(_) => Err(Error::Conflict { key: key.to_owned() }),
        }
    }

    /// Which results a Job has, by shard, pod and number.
    pub async fn list_results(&self, job: Uuid) -> Result<Vec<ResultKey>> {
        self.list_results_below(&keys::job_prefix(job)).await
    }

    /// Which results one shard of a Job has, by pod and number.
    pub async fn list_shard_results(&self, job: Uuid, shard: u32) -> Result<Vec<ResultKey>> {
        self.list_results_below(&keys::shard_prefix(job, shard)).await
    }

    async fn list_results_below(&self, prefix: &str) -> Result<Vec<ResultKey>> {
        let listed = self.objects().list(prefix, None)?;
        let found = listed.try_filter_map(|key| async move {
            Ok(keys::parse_results(&key).map(|(shard, pod, n)| ResultKey { shard, pod, n }))
        });
        let mut found: Vec<ResultKey> = found.try_collect().await?;
        found.sort_unstable();
        Ok(found)
    }

    /// One record of results.
    pub async fn get_results(&self, job: Uuid, at: ResultKey) -> Result<ShardResults> {
        let key = keys::results(job, at.shard, at.pod, at.n);
        let bytes = self.objects().get(&key).await?;
        decode_checked::<ShardResults>(&bytes).map_err(Error::decode(key))
    }

    /// These records of results, in the order asked for.
    pub fn read_results(
        &self,
        job: Uuid,
        keys: Vec<ResultKey>,
    ) -> BoxStream<'static, Result<(ResultKey, ShardResults)>> {
        let store = self.clone();
        futures::stream::iter(keys)
            .map(move |key| {
                let store = store.clone();
                async move { Ok((key, store.get_results(job, key).await?)) }
            })
            .buffered(READS_IN_FLIGHT)
            .boxed()
    }

    /// What an import pod fetched for a Commit: the first complete record; none as long as there is none.
    pub async fn get_import(&self, commit: Uuid) -> Result<Option<ImportResults>> {
        let Some(at) = self.list_shard_results(commit, 0).await?.into_iter().next() else { return Ok(None) };
        let key = keys::results(commit, at.shard, at.pod, at.n);
        let bytes = self.objects().get(&key).await?;
        decode_checked::<ImportResults>(&bytes).map(Some).map_err(Error::decode(key))
    }
}
