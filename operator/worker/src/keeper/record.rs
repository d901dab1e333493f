//! Imports outputs and records results while user code runs on.
//!
//! A result is recorded when everything it names is durable and `put_results` has returned: at
//! least every second or 64 MiB. What is not recorded yet lies on the pod's disk, so after a
//! failure of the store a fresh session imports all of it again: nothing finished is lost while
//! the pod lives.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use varve_format::records::{ContentRef, DatumResult, NodeRef, PlanDatum, ResultState, ShardResults};
use varve_store::{Error as StoreError, ResultKey, Session, Store};

use super::error::is_passing;
use super::inputs::Inputs;
use super::log::Log;
use super::outputs::{Importer, OutputError, open_out};
use super::queue::pause;
use super::symlinks::Lookup;
use super::verdict::TryFailure;
use crate::pod::config::Identity;
use crate::pod::layout;

/// Longest time that a finished datum waits for its record.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of output and log that are recorded without waiting for the interval.
const RECORD_BYTES: u64 = 64 << 20;
/// Outputs imported at once: hides the store's latency behind the hashing of another.
const IMPORTS_AT_ONCE: usize = 4;
/// Failures of the store in a row before the pod gives up, about two minutes; the next pod goes on.
const MAX_FAILURES: u32 = 8;

/// One run of a datum that used a try or succeeded.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub datum: Arc<PlanDatum>,
    pub inputs: Arc<Inputs>,
    /// Tries used, this one included.
    pub tries: u32,
    /// No further try is left if this one failed.
    pub is_last_try: bool,
    /// Whether the output counts, if it can be imported.
    pub outcome: Result<(), TryFailure>,
    /// Exit code and signal.
    pub exit: (Option<i32>, Option<i32>),
    pub started_ns: i64,
    pub ended_ns: i64,
    pub log: Log,
    /// The folder of what the run left on disk.
    pub done: PathBuf,
    /// Room on the pod's disk, given back when the attempt is recorded.
    pub _room: OwnedSemaphorePermit,
}

/// What a recorder needs to know of its shard.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub store: Store,
    pub identity: Identity,
    pub devices: Vec<String>,
    /// Where user code sees its files.
    pub pfs: String,
}

/// What a recorder has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub succeeded: u64,
    pub failed: u64,
}

impl Tally {
    /// Datums that need no further run.
    pub(crate) fn finished(self) -> u64 {
        self.succeeded + self.failed
    }
}

type Imported = (u64, Result<DatumResult, StoreError>);

/// The one writer of a shard's results.
pub(crate) struct Recorder {
    shard: Arc<Shard>,
    /// The number of the next record.
    next: u64,
    session: Option<Session>,
    /// All attempts that no record holds yet, in the order in which they came.
    unrecorded: BTreeMap<u64, Arc<Attempt>>,
    attempts: u64,
    /// Attempts whose import has not begun.
    to_import: VecDeque<u64>,
    importing: JoinSet<Imported>,
    imported: Vec<(u64, DatumResult)>,
    imported_bytes: u64,
    /// When the eldest of the imported must be recorded.
    due: Option<Instant>,
    failures: u32,
    tally: Tally,
}

impl Recorder {
    /// A recorder whose first record has number `next`.
    pub(crate) fn new(shard: Arc<Shard>, next: u64) -> Self {
        Self {
            shard,
            next,
            session: None,
            unrecorded: BTreeMap::new(),
            attempts: 0,
            to_import: VecDeque::new(),
            importing: JoinSet::new(),
            imported: Vec::new(),
            imported_bytes: 0,
            due: None,
            failures: 0,
            tally: Tally::default(),
        }
    }

    /// Records all that comes, until the channel closes and nothing is left; fails only when the
    /// store has failed for too long.
    pub(crate) async fn run(mut self, mut attempts: mpsc::Receiver<Attempt>) -> (Tally, Result<(), StoreError>) {
        let mut is_open = true;
        while is_open || !self.unrecorded.is_empty() {
            self.import_next();
            let due = self.due.unwrap_or_else(Instant::now);
            let step = tokio::select! {
                attempt = attempts.recv(), if is_open && self.to_import.is_empty() && self.importing.len() < IMPORTS_AT_ONCE => {
                    is_open = attempt.is_some();
                    if let Some(attempt) = attempt {
                        self.take(attempt);
                    }
                    Ok(())
                }
                Some(imported) = self.importing.join_next() => match imported {
                    Ok((number, Ok(result))) => {
                        self.keep(number, result);
                        Ok(())
                    }
                    Ok((_, Err(error))) => Err(error),
                    Err(_) => Err(StoreError::SessionEnded), // the import's task panicked or was ended
                },
                () = sleep_until(due), if self.due.is_some() => self.record().await,
            };
            let step = match step {
                // With nothing more to come there is nothing to wait for.
                Ok(()) if !is_open && self.to_import.is_empty() && self.importing.is_empty() => self.record().await,
                step => step,
            };
            if let Err(error) = step
                && let Err(error) = self.start_over(error).await
            {
                return (self.tally, Err(error));
            }
        }
        (self.tally, Ok(()))
    }

    fn take(&mut self, attempt: Attempt) {
        let number = self.attempts;
        self.attempts += 1;
        self.unrecorded.insert(number, Arc::new(attempt));
        self.to_import.push_back(number);
    }

    /// Begins as many imports as may run at once.
    fn import_next(&mut self) {
        while self.importing.len() < IMPORTS_AT_ONCE
            && let Some(number) = self.to_import.pop_front()
        {
            let Some(attempt) = self.unrecorded.get(&number).cloned() else { continue };
            let session = self.session.get_or_insert_with(|| self.shard.store.session()).clone();
            let shard = self.shard.clone();
            self.importing.spawn(async move { (number, import(&shard, &session, &attempt).await) });
        }
    }

    fn keep(&mut self, number: u64, result: DatumResult) {
        let output = result.output.as_ref().map_or(0, |node| node.bytes);
        self.imported_bytes += output + result.log.as_ref().map_or(0, |log| log.size);
        self.imported.push((number, result));
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + RECORD_INTERVAL);
        if self.imported_bytes >= RECORD_BYTES {
            self.due = Some(due.min(now));
        }
    }

    /// Makes everything imported durable and records it.
    async fn record(&mut self) -> Result<(), StoreError> {
        self.due = None;
        if self.imported.is_empty() {
            return Ok(());
        }
        if let Some(session) = &self.session {
            session.flush().await?;
        }
        let datums = self.imported.iter().map(|(_, result)| result.clone()).collect();
        let results = ShardResults { format: 1, datums };
        let identity = &self.shard.identity;
        let key = ResultKey { shard: identity.shard, pod: identity.pod_uid, n: self.next };
        match self.shard.store.put_results(identity.job_uid, key, &results).await {
            // An earlier attempt to write this number came through after all. Its results stand;
            // ours, which say the same, take the next number.
            Err(StoreError::Conflict { .. }) => {
                self.next += 1;
                self.due = Some(Instant::now());
                return Ok(());
            }
            other => other?,
        }
        tracing::info!(
            record = self.next,
            datums = results.datums.len(),
            bytes = self.imported_bytes,
            "results recorded"
        );
        self.next += 1;
        self.failures = 0;
        self.imported_bytes = 0;
        for (number, result) in std::mem::take(&mut self.imported) {
            match result.state() {
                ResultState::Succeeded => self.tally.succeeded += 1,
                ResultState::Failed => self.tally.failed += 1,
                ResultState::TryFailed | ResultState::Unspecified => {}
            }
            if let Some(attempt) = self.unrecorded.remove(&number) {
                discard(attempt).await;
            }
        }
        Ok(())
    }

    /// After a failure: waits, then imports all that is not recorded into a fresh session.
    async fn start_over(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.failures += 1;
        if !is_passing(&error) || self.failures > MAX_FAILURES {
            return Err(error);
        }
        tracing::warn!(failures = self.failures, %error, reason = error.reason(), "recording failed, will try again");
        self.importing.shutdown().await;
        self.session = None;
        self.imported.clear();
        self.imported_bytes = 0;
        self.due = None;
        sleep(pause(self.failures)).await;
        self.to_import = self.unrecorded.keys().copied().collect();
        Ok(())
    }
}

/// Removes what a recorded attempt left on the disk, beside the runtime's threads.
async fn discard(attempt: Arc<Attempt>) {
    let left: Vec<PathBuf> = [attempt.done.clone()].into_iter().chain(attempt.log.path().map(Path::to_owned)).collect();
    let removing = move || {
        for path in left {
            if let Err(error) = layout::remove(&path) {
                // Costs disk until the pod ends, no more.
                tracing::warn!(path = %path.display(), %error, "can't remove a recorded output");
            }
        }
    };
    // Fails only if the removal panicked, which costs no more than the disk either.
    let _ = tokio::task::spawn_blocking(removing).await;
}

/// Imports what an attempt left. An unusable output is the datum's failure, any other error ours.
async fn import(shard: &Shard, session: &Session, attempt: &Attempt) -> Result<DatumResult, StoreError> {
    let unusable = |why| Err(TryFailure::last("OutputUnusable", why));
    let output = match &attempt.outcome {
        Err(failure) => Err(failure.clone()),
        Ok(()) => match import_output(shard, session, attempt).await {
            Ok(node) => Ok(NodeRef::from(&node)),
            Err(OutputError::Store(error)) if is_the_users_doing(&error) => {
                unusable(format!("the output can't be used: {error}"))
            }
            Err(OutputError::Store(error)) => return Err(error),
            Err(OutputError::Disk { path, source }) => {
                return Err(StoreError::Io { doing: format!("read {path}"), source: Arc::new(source) });
            }
            Err(OutputError::Unusable(why)) => unusable(why),
        },
    };
    let (state, reason, output, note) = match output {
        Ok(node) => (ResultState::Succeeded, "", Some(node), None),
        Err(failure) if attempt.is_last_try || failure.is_final => {
            (ResultState::Failed, failure.reason, None, Some(failure.message))
        }
        Err(failure) => (ResultState::TryFailed, failure.reason, None, Some(failure.message)),
    };
    let disk = |source| StoreError::Io { doing: "read the log".into(), source: Arc::new(source) };
    let (tail, log) = attempt.log.with_note(note.as_deref()).await.map_err(disk)?;
    let log = session.write_content(log).await?;
    let (exit_code, signal) = attempt.exit;
    Ok(DatumResult {
        hash: attempt.datum.hash.clone(),
        key: attempt.datum.key.clone(),
        state: state.into(),
        tries: attempt.tries,
        exit_code,
        signal,
        reason: reason.to_owned(),
        output,
        log: Some(ContentRef::from(&log)),
        tail,
        node: shard.identity.node.clone(),
        devices: shard.devices.clone(),
        started_ns: attempt.started_ns,
        ended_ns: attempt.ended_ns,
    })
}

/// Whether the store refuses the output for what it is.
fn is_the_users_doing(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Name(_)
            | StoreError::Map(_)
            | StoreError::PathTooLong { .. }
            | StoreError::ContentTooLarge { .. }
            | StoreError::Edit { .. }
    )
}

async fn import_output(
    shard: &Shard,
    session: &Session,
    attempt: &Attempt,
) -> Result<varve_store::NodeRef, OutputError> {
    let out = open_out(&attempt.done, &shard.pfs)?;
    let lookup = Lookup { out: &out, inputs: &attempt.inputs, store: &shard.store, pfs: &shard.pfs };
    Importer { session, lookup }.import().await
}
