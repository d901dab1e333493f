//! What workers remember of the datums that they ran, and the laws that they see broken at once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;
use varve_format::records::{DatumResult, PlanDatum, ResultState};

/// The memory of all workers.
pub(super) struct Memory {
    known: Mutex<Known>,
    /// Where lists lack what is new, a Job may plan once more what has just ended: nobody can know.
    lists_are_stale: bool,
}

#[derive(Default)]
struct Known {
    runs: u32,
    /// Pods that ended without having done what they were to do.
    mishaps: u32,
    /// Datums whose end is recorded: by Job and hash.
    recorded: BTreeSet<(Uuid, Vec<u8>)>,
    ended: BTreeSet<Uuid>,
    /// Datums that succeeded in a Job that has ended since.
    finished: BTreeMap<Vec<u8>, Uuid>,
    /// Good results of Jobs that have not ended.
    good: BTreeMap<Uuid, Vec<Vec<u8>>>,
    /// What was finished when a Job began: it must not run these.
    finished_before: BTreeMap<Uuid, BTreeMap<Vec<u8>, Uuid>>,
    broken: Vec<String>,
}

impl Memory {
    pub(super) fn new(lists_are_stale: bool) -> Self {
        Self { known: Mutex::default(), lists_are_stale }
    }

    fn of<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn runs(&self) -> u32 {
        self.of(|known| known.runs)
    }

    pub(super) fn mishaps(&self) -> u32 {
        self.of(|known| known.mishaps)
    }

    pub(super) fn pod_ends_badly(&self) {
        self.of(|known| known.mishaps += 1);
    }

    pub(super) fn broken(&self) -> Vec<String> {
        self.of(|known| known.broken.clone())
    }

    /// False where that was known.
    pub(super) fn job_began(&self, job: Uuid) -> bool {
        self.of(|known| {
            let Entry::Vacant(place) = known.finished_before.entry(job) else { return false };
            place.insert(known.finished.clone());
            true
        })
    }

    /// False where that was known.
    pub(super) fn job_ended(&self, job: Uuid, is_kept: bool) -> bool {
        self.of(|known| {
            let good = known.good.remove(&job).filter(|_| is_kept).unwrap_or_default();
            known.finished.extend(good.into_iter().map(|hash| (hash, job)));
            known.ended.insert(job)
        })
    }

    pub(super) fn begins(&self, job: Uuid, datum: &PlanDatum) {
        self.of(|known| {
            known.runs += 1;
            let key = String::from_utf8_lossy(&datum.key).into_owned();
            if !self.lists_are_stale && known.recorded.contains(&(job, datum.hash.clone())) {
                known.broken.push(format!("datum {key} of Job {job} runs again though its end is recorded"));
            }
            if let Some(earlier) = known.finished_before.get(&job).and_then(|finished| finished.get(&datum.hash)) {
                known.broken.push(format!("datum {key} runs again in Job {job}: Job {earlier} had finished it"));
            }
        });
    }

    pub(super) fn ends(&self, job: Uuid, results: &[DatumResult]) {
        self.of(|known| {
            for result in results.iter().filter(|result| result.state() != ResultState::TryFailed) {
                known.recorded.insert((job, result.hash.clone()));
                if result.state() == ResultState::Succeeded {
                    known.good.entry(job).or_default().push(result.hash.clone());
                }
            }
        });
    }
}
