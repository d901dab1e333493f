//! What pods have recorded: the truth about which datums have ended, whatever Kubernetes says of the pods.
//!
//! A result is believed where its key and hash are those of a planned datum. Of several results of one datum
//! the one of the lowest (pod, n) counts, so that every reader picks the same.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use bytes::Bytes;
use futures::TryStreamExt;
use uuid::Uuid;
use varve_format::{
    Hash,
    records::{DatumResult, ResultState, ShardResults},
};
use varve_store::{ResultKey, Store};

use crate::error::{Error, Result};

/// A datum's key and hash: a result of another hash is that of another datum.
type Which = (Bytes, Hash);

/// The results of a Job, as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct Results {
    seen: BTreeSet<ResultKey>,
    ends: HashMap<Which, End>,
    tries: HashMap<Which, u32>,
    is_distrusted: bool,
}

/// How a datum ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    order: (Uuid, u64),
    /// The result. That of a success has lost its last lines, which nobody will ask for.
    pub(crate) result: DatumResult,
}

impl End {
    /// The pod that recorded it.
    pub(crate) fn pod(&self) -> Uuid {
        self.order.0
    }

    /// Whether it ended well.
    pub(crate) fn is_success(&self) -> bool {
        self.result.state() == ResultState::Succeeded
    }
}

impl Results {
    /// Reads what was recorded since the last look. True where anything was.
    pub(crate) async fn look(&mut self, store: &Store, job: Uuid) -> Result<bool> {
        let listed = store.list_results(job).await.map_err(Error::store("list the results of the Job"))?;
        let new: Vec<ResultKey> = listed.into_iter().filter(|key| !self.seen.contains(key)).collect();
        if new.is_empty() {
            return Ok(false);
        }
        let mut read = store.read_results(job, new);
        while let Some((key, results)) = read.try_next().await.map_err(Error::store("read results of the Job"))? {
            self.take((key.pod, key.n), results);
            self.seen.insert(key);
        }
        Ok(true)
    }

    fn take(&mut self, order: (Uuid, u64), results: ShardResults) {
        if self.is_distrusted {
            return;
        }
        for mut result in results.datums {
            let Ok(hash) = result.hash() else { continue };
            let which = (Bytes::copy_from_slice(&result.key), hash);
            let tries = self.tries.entry(which.clone()).or_default();
            *tries = (*tries).max(result.tries);
            match result.state() {
                ResultState::Succeeded => result.tail.clear(),
                ResultState::Failed => {}
                ResultState::TryFailed | ResultState::Unspecified => continue,
            }
            match self.ends.entry(which) {
                Entry::Occupied(mut there) if order < there.get().order => {
                    there.insert(End { order, result });
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert(End { order, result });
                }
            }
        }
    }

    /// Believes nothing of what was, or will be, read.
    pub(crate) fn distrust(&mut self) {
        *self = Self { seen: std::mem::take(&mut self.seen), is_distrusted: true, ..Self::default() };
    }

    /// The pods whose results count; some of them more than once.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.ends.values().map(End::pod)
    }

    /// How the datum of this key and hash ended, if it has.
    pub(crate) fn end(&self, key: &Bytes, hash: &Hash) -> Option<&End> {
        self.ends.get(&(key.clone(), *hash))
    }

    /// Tries that the datum of this key and hash has used.
    pub(crate) fn tries(&self, key: &Bytes, hash: &Hash) -> u32 {
        self.tries.get(&(key.clone(), *hash)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(key: &str, state: ResultState, tries: u32, node: &str) -> DatumResult {
        DatumResult {
            key: key.as_bytes().to_vec(),
            hash: Hash::of_content(key.as_bytes()).to_vec(),
            state: state as i32,
            tries,
            node: node.to_owned(),
            tail: "printed".to_owned(),
            ..DatumResult::default()
        }
    }

    fn taken(parts: &[((u128, u64), DatumResult)]) -> Results {
        let mut results = Results::default();
        for ((pod, n), result) in parts {
            let shard = ShardResults { format: 1, datums: vec![result.clone()] };
            results.take((Uuid::from_u128(*pod), *n), shard);
        }
        results
    }

    fn node_of(results: &Results, key: &'static str) -> Option<String> {
        let hash = Hash::of_content(key.as_bytes());
        results.end(&Bytes::from_static(key.as_bytes()), &hash).map(|end| end.result.node.clone())
    }

    #[test]
    fn of_two_results_of_a_datum_the_one_of_the_lowest_pod_counts_in_any_order() {
        let low = ((1, 9), result("a", ResultState::Succeeded, 1, "low"));
        let high = ((2, 0), result("a", ResultState::Failed, 3, "high"));
        for parts in [[low.clone(), high.clone()], [high, low]] {
            assert_eq!(node_of(&taken(&parts), "a").as_deref(), Some("low"));
        }
    }

    #[test]
    fn a_used_try_is_counted_and_ends_nothing() {
        let results = taken(&[((1, 0), result("a", ResultState::TryFailed, 2, "n"))]);
        let (key, hash) = (Bytes::from_static(b"a"), Hash::of_content(b"a"));
        assert_eq!((node_of(&results, "a"), results.tries(&key, &hash)), (None, 2));
    }

    #[test]
    fn of_results_that_are_distrusted_none_counts_also_of_those_to_come() {
        let part = || ShardResults { format: 1, datums: vec![result("a", ResultState::Succeeded, 1, "n")] };
        let mut results = Results::default();
        results.take((Uuid::from_u128(1), 0), part());
        results.distrust();
        results.take((Uuid::from_u128(2), 0), part());
        assert_eq!(node_of(&results, "a"), None);
    }

    #[test]
    fn a_result_of_another_hash_is_not_believed() {
        let results = taken(&[((1, 0), result("a", ResultState::Succeeded, 1, "n"))]);
        let other = Hash::of_content(b"another spec");
        let key = Bytes::from_static(b"a");
        assert!(results.end(&key, &other).is_none());
        assert_eq!(results.tries(&key, &other), 0);
    }

    #[test]
    fn a_result_of_another_hash_never_hides_the_right_one() {
        let other =
            DatumResult { hash: Hash::of_content(b"b").to_vec(), ..result("a", ResultState::Succeeded, 1, "o") };
        let results = taken(&[((1, 0), other), ((2, 0), result("a", ResultState::Succeeded, 1, "right"))]);
        assert_eq!(node_of(&results, "a").as_deref(), Some("right"));
    }
}
