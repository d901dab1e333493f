//! What is left to do: the shard of the plan, less what its results in the store say.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use varve_format::records::{PlanDatum, ResultState, ShardResults, Task};
use varve_store::Store;

use super::error::{Failure, is_passing};
use super::inputs::Inputs;
use super::queue::Waiting;
use crate::pod::config::{Config, Identity};

/// A shard's datums and which of them wait.
#[derive(Debug)]
pub(crate) struct Work {
    pub task: Task,
    pub datums: Vec<(Arc<PlanDatum>, Arc<Inputs>)>,
    /// Those without a result, in plan order.
    pub waiting: Vec<Waiting>,
    /// The number of this pod's next record: above 0 if its keeper was restarted in place.
    pub next_record: u64,
}

/// Reads the plan and the results.
pub(crate) async fn read(store: &Store, config: &Config) -> Result<Work, Failure> {
    let Identity { job_uid, shard, pod_uid, .. } = config.identity;
    let plan =
        store.get_plan_header(job_uid, &config.plan).await.map_err(|error| unreadable("read the plan", error))?;
    let task = plan.task.ok_or_else(|| Failure::JobCannotProceed("the plan names no task".into()))?;
    let planned = match store.get_plan_shard(job_uid, &config.plan, shard).await {
        Ok(planned) => planned,
        Err(error) if is_passing(&error) => return Err(Failure::store("read the plan", error)),
        Err(error) => return Err(Failure::ShardCannotProceed(format!("read shard {shard} of the plan: {error}"))),
    };
    let reading = |error| Failure::store("read the shard's results", error);
    let recorded = store.list_shard_results(job_uid, shard).await.map_err(reading)?;
    let next_record = recorded.iter().filter(|key| key.pod == pod_uid).map(|key| key.n + 1).max().unwrap_or(0);
    let mut known = Known::default();
    let mut results = store.read_results(job_uid, recorded);
    while let Some((_, results)) = results.try_next().await.map_err(reading)? {
        known.add(&results);
    }
    let waiting = known.still_waiting(&planned.datums);
    let datums = planned
        .datums
        .into_iter()
        .map(|datum| {
            let inputs = Inputs::parse(&datum).map_err(|error| Failure::ShardCannotProceed(error.to_string()))?;
            Ok((Arc::new(datum), Arc::new(inputs)))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Work { task, datums, waiting, next_record })
}

fn unreadable(doing: &'static str, error: varve_store::Error) -> Failure {
    if is_passing(&error) {
        Failure::store(doing, error)
    } else {
        Failure::JobCannotProceed(format!("{doing}: {error}"))
    }
}

/// What results say of datums, by key and hash: the tries used, or none where a result is final. The hash too, since
/// a result of another spec or of other files under the same names says nothing of this datum.
#[derive(Debug, Default)]
struct Known(HashMap<(Vec<u8>, Vec<u8>), Option<u32>>);

impl Known {
    fn add(&mut self, results: &ShardResults) {
        for result in &results.datums {
            let tries = self.0.entry((result.key.clone(), result.hash.clone())).or_insert(Some(0));
            match result.state() {
                ResultState::Succeeded | ResultState::Failed => *tries = None,
                ResultState::TryFailed => *tries = tries.map(|used| used.max(result.tries)),
                ResultState::Unspecified => {}
            }
        }
    }

    /// The datums without a final result, each with the tries it has used: in earlier batch Jobs,
    /// by the plan, and in earlier pods of this one, by their results.
    fn still_waiting(&self, planned: &[PlanDatum]) -> Vec<Waiting> {
        let waiting = planned.iter().enumerate().filter_map(|(datum, planned)| {
            let recorded = self.0.get(&(planned.key.clone(), planned.hash.clone())).copied().unwrap_or(Some(0))?;
            Some(Waiting { datum, tries_used: planned.tries_used.max(recorded) })
        });
        waiting.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_format::records::DatumResult;

    fn planned(key: &str, tries_used: u32) -> PlanDatum {
        PlanDatum { key: key.into(), hash: b"now".to_vec(), tries_used, ..PlanDatum::default() }
    }

    fn result(key: &str, state: ResultState, tries: u32) -> DatumResult {
        DatumResult { key: key.into(), hash: b"now".to_vec(), state: state.into(), tries, ..DatumResult::default() }
    }

    #[test]
    fn finished_datums_are_left_out_and_used_tries_count_from_plan_and_results() {
        let plan =
            [planned("done", 0), planned("bad", 1), planned("tried", 0), planned("carried", 2), planned("fresh", 0)];
        let first = ShardResults {
            format: 1,
            datums: vec![result("done", ResultState::TryFailed, 1), result("tried", ResultState::TryFailed, 1)],
        };
        let second = ShardResults {
            format: 1,
            datums: vec![
                result("tried", ResultState::TryFailed, 2),
                result("done", ResultState::Succeeded, 2),
                result("bad", ResultState::Failed, 3),
                result("of another plan", ResultState::Succeeded, 1),
            ],
        };
        let mut known = Known::default();
        known.add(&second);
        known.add(&first);
        let left: Vec<_> = known.still_waiting(&plan).iter().map(|w| (w.datum, w.tries_used)).collect();
        assert_eq!(left, [(2, 2), (3, 2), (4, 0)]);
    }

    #[test]
    fn a_result_of_another_hash_leaves_the_datum_waiting() {
        let mut known = Known::default();
        let before = DatumResult { hash: b"before".to_vec(), ..result("a", ResultState::Succeeded, 2) };
        known.add(&ShardResults { format: 1, datums: vec![before] });
        let left: Vec<_> = known.still_waiting(&[planned("a", 0)]).iter().map(|w| (w.datum, w.tries_used)).collect();
        assert_eq!(left, [(0, 0)]);
    }
}
