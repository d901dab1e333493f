//! The full record of a Job, kept in the store: every datum that was not carried over, with its tries, node,
//! times and log. Statuses and provenance are summaries of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use varve_api::Job;
use varve_format::records::{DatumOrigin, JobDatum, JobRecord, MemoEntry};

use super::{
    batch::job_uid,
    planning::{Planned, PlannedDatum},
    results::Results,
};
use crate::error::Result;

/// Nodes and devices that a status names at most.
const NAMES_SHOWN: usize = 16;

/// The record of a Job that ends at `ended`.
pub(crate) fn record(job: &Job, planned: &Planned, results: &Results, ended: Timestamp) -> Result<JobRecord> {
    let started = job.creation_timestamp().map_or(ended, |time| time.0);
    Ok(JobRecord {
        format: 1,
        job_uid: job_uid(job)?.into_bytes().to_vec(),
        job_name: job.name_any(),
        pipeline: job.spec.pipeline.clone(),
        spec_digest: planned.spec_digest.to_vec(),
        started_ns: nanoseconds(started),
        ended_ns: nanoseconds(ended),
        datums: planned.datums.iter().filter_map(|datum| job_datum(datum, results)).collect(),
        total: planned.total,
    })
}

fn job_datum(datum: &PlannedDatum, results: &Results) -> Option<JobDatum> {
    let after = datum.after.as_ref()?;
    let base = JobDatum { key: datum.key.as_bytes().to_vec(), hash: after.hash.to_vec(), ..JobDatum::default() };
    if let Some(memo) = &datum.memo {
        return Some(JobDatum { origin: DatumOrigin::Memo.into(), log: memo.log.clone(), ..base });
    }
    let end = results.end(datum.key.as_bytes(), &after.hash)?;
    let result = &end.result;
    let origin = if end.is_success() { DatumOrigin::Processed } else { DatumOrigin::Failed };
    Some(JobDatum {
        origin: origin.into(),
        tries: result.tries,
        node: result.node.clone(),
        devices: result.devices.clone(),
        started_ns: result.started_ns,
        ended_ns: result.ended_ns,
        log: result.log.clone(),
        exit_code: result.exit_code,
        reason: result.reason.clone(),
        ..base
    })
}

/// The results that are new to the memo: every datum that a pod of this Job finished well.
pub(crate) fn memo_entries(planned: &Planned, results: &Results) -> Vec<MemoEntry> {
    let done = planned.to_run().filter_map(|datum| {
        let end = results.end(datum.key.as_bytes(), &datum.hash).filter(|end| end.is_success())?;
        Some(MemoEntry {
            hash: datum.hash.to_vec(),
            state: 1,
            output: end.result.output.clone(),
            log: end.result.log.clone(),
        })
    });
    let mut entries: Vec<MemoEntry> = done.collect();
    entries.sort_by(|a, b| a.hash.cmp(&b.hash));
    entries.dedup_by(|a, b| a.hash == b.hash);
    entries
}

/// What a status says of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// All datums of the inputs.
    pub(crate) total: u64,
    /// Those that ran and ended well.
    pub(crate) processed: u64,
    /// Those that ran and failed.
    pub(crate) failed: u64,
    /// Nodes that computed some, the first few.
    pub(crate) nodes: Vec<String>,
    /// Devices likewise.
    pub(crate) devices: Vec<String>,
    /// When the Job began and ended, in nanoseconds since 1970.
    pub(crate) times_ns: (i64, i64),
}

impl Summary {
    /// Of a record.
    pub(crate) fn of(record: &JobRecord) -> Self {
        let count = |origin: DatumOrigin| record.datums.iter().filter(|datum| datum.origin() == origin).count() as u64;
        let nodes: BTreeSet<&String> =
            record.datums.iter().map(|datum| &datum.node).filter(|node| !node.is_empty()).collect();
        let devices: BTreeSet<&String> = record.datums.iter().flat_map(|datum| &datum.devices).collect();
        Self {
            total: record.total,
            processed: count(DatumOrigin::Processed),
            failed: count(DatumOrigin::Failed),
            nodes: nodes.into_iter().take(NAMES_SHOWN).cloned().collect(),
            devices: devices.into_iter().take(NAMES_SHOWN).cloned().collect(),
            times_ns: (record.started_ns, record.ended_ns),
        }
    }
}

pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
