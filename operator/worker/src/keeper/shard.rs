//! The main loop: one datum runs, the next is being staged, the last are being recorded.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use varve_store::Store;

use super::environment;
use super::error::{Failure, StageError};
use super::inputs::Inputs;
use super::layout::Layout;
use super::link::{Link, Said};
use super::log::Log;
use super::plan::Work;
use super::queue::{Next, Queue, Waiting, pause};
use super::record::Attempt;
use super::verdict::{TryFailure, Verdict, judge};
use crate::protocol::{Ended, Outcome, Run, ToShim};

/// Tries to stage one datum's inputs before the pod gives up, about a minute.
const STAGE_TRIES: u32 = 6;
/// Finished outputs that may lie on the pod's disk before the next run waits for their upload, in MiB.
const ROOM_MIB: u32 = 1024;
/// Finished runs that may wait for the recorder.
pub(crate) const WAITING_ATTEMPTS: usize = 64;

/// Serves the datums of a shard, one after another.
pub(crate) struct Server {
    pub store: Store,
    pub layout: Layout,
    pub work: Work,
    pub queue: Queue,
    pub link: Link,
    pub recorder: mpsc::Sender<Attempt>,
    /// Set when the pod is being stopped.
    pub stop: CancellationToken,
    /// Where user code sees its files.
    pub pfs: String,
    room: Arc<Semaphore>,
    runs: u64,
}

/// Inputs on their way to the disk.
struct Staging {
    waiting: Waiting,
    run: u64,
    task: JoinHandle<Result<(), StageError>>,
}

/// How a run came out of the shim.
enum Ran {
    Ended(Ended),
    /// The user's container is gone.
    Lost(io::Error),
}

impl Server {
    pub(crate) fn new(
        store: Store,
        layout: Layout,
        work: Work,
        link: Link,
        (recorder, stop, pfs): (mpsc::Sender<Attempt>, CancellationToken, String),
    ) -> Self {
        let queue = Queue::new(work.waiting.iter().copied());
        let room = Arc::new(Semaphore::new(ROOM_MIB as usize));
        Self { store, layout, work, queue, link, recorder, stop, pfs, room, runs: 0 }
    }

    /// Runs every datum that waits. Returns the link, so that the shim can be told how it ended.
    pub(crate) async fn serve(mut self) -> (Link, Result<(), Failure>) {
        let mut staging = None;
        let served = loop {
            match self.step(&mut staging).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        if let Some(Staging { task, .. }) = staging {
            task.abort();
        }
        (self.link, served)
    }

    /// One run, or one pause. False when nothing is left.
    async fn step(&mut self, next: &mut Option<Staging>) -> Result<bool, Failure> {
        if self.stop.is_cancelled() {
            return Err(Failure::Stopped);
        }
        let staging = match next.take() {
            Some(staging) => staging,
            None => match self.queue.next(Instant::now()) {
                Next::Ready(waiting) => self.stage(waiting),
                Next::At(at) => {
                    self.idle(tokio::time::sleep_until(at.into())).await?;
                    return Ok(true);
                }
                Next::Empty => return Ok(false),
            },
        };
        let Staging { waiting, run, mut task } = staging;
        let staged = self.idle(&mut task).await;
        if staged.is_err() {
            task.abort();
        }
        match staged? {
            Ok(staged) => staged.map_err(|error| stage_failure(&error))?,
            Err(error) => return Err(Failure::Disk { doing: "stage inputs", source: io::Error::other(error) }),
        }
        let layout = self.layout.clone();
        blocking("present inputs", move || layout.present(run)).await?;
        if let Next::Ready(waiting) = self.queue.next(Instant::now()) {
            *next = Some(self.stage(waiting));
        }
        self.run(waiting, run).await?;
        Ok(true)
    }

    /// Waits for something while nothing runs: the pod may be stopped or the shim lost meanwhile.
    async fn idle<T>(&mut self, until: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = until => Ok(done),
            () = self.stop.cancelled() => Err(Failure::Stopped),
            said = self.link.next() => Err(Failure::ShimLost(match said {
                Err(error) => error,
                Ok(said) => io::Error::other(format!("it said {said:?} while nothing ran")),
            })),
        }
    }

    fn stage(&mut self, waiting: Waiting) -> Staging {
        let run = self.runs;
        self.runs += 1;
        let inputs = self.work.datums[waiting.datum].1.clone();
        let (store, layout) = (self.store.clone(), self.layout.clone());
        Staging { waiting, run, task: tokio::spawn(async move { stage(&store, &layout, run, &inputs).await }) }
    }

    /// Runs the command for a datum whose inputs are in place, and hands the result on.
    async fn run(&mut self, waiting: Waiting, run: u64) -> Result<(), Failure> {
        let (datum, inputs) = self.work.datums[waiting.datum].clone();
        let task = &self.work.task;
        let timeout_seconds = Some(task.timeout_seconds).filter(|&seconds| seconds > 0);
        let request = Run {
            argv: task.argv.clone(),
            working_dir: Some(task.working_dir.clone()).filter(|path| !path.is_empty()),
            env: environment::variables(task, &datum, &self.pfs),
            timeout_seconds,
        };
        let mut log = Log::spilling_to(self.layout.done(run).with_extension("log"));
        let started_ns = unix_ns();
        let ran = self.attend(&request, &mut log).await?;
        let layout = self.layout.clone();
        let done = blocking("take the output", move || layout.take(run)).await?;
        let (ended, lost) = match ran {
            Ran::Ended(ended) => (ended, None),
            // While the pod is being stopped its containers end in any order: no try is used.
            Ran::Lost(_) if self.stop.is_cancelled() => return Err(Failure::Stopped),
            Ran::Lost(error) => (lost_run(started_ns), Some(error)),
        };
        let verdict = match lost {
            Some(_) => Verdict::Failed(TryFailure::shim_lost()),
            None => judge(&ended, &self.work.task.accept_exit_codes, timeout_seconds),
        };
        let tries = waiting.tries_used + 1;
        let is_last_try = tries >= self.work.task.tries.max(1);
        let outcome = match verdict {
            Verdict::Stopped => return Err(Failure::Stopped),
            Verdict::Succeeded => Ok(()),
            Verdict::Failed(failure) => Err(failure),
        };
        match &outcome {
            Ok(()) => tracing::debug!(datum = %hex::encode(&datum.hash), tries, "run succeeded"),
            Err(failure) => {
                tracing::info!(datum = %hex::encode(&datum.hash), tries, reason = failure.reason, is_last_try, "try failed");
                if !is_last_try && !failure.is_final {
                    self.queue.again(Waiting { tries_used: tries, ..waiting }, Instant::now());
                }
            }
        }
        let room = self.room(ended.output_bytes).await?;
        let attempt = Attempt { datum, inputs, tries, is_last_try, outcome, ended, log, done, _room: room };
        if self.recorder.send(attempt).await.is_err() {
            return Err(Failure::Stopped); // the recorder gave up, and says why itself
        }
        lost.map_or(Ok(()), |error| Err(Failure::ShimLost(error)))
    }

    /// Has the shim run the command, and keeps what it prints.
    async fn attend(&mut self, request: &Run, log: &mut Log) -> Result<Ran, Failure> {
        if let Err(error) = self.link.send(&ToShim::Run(request.clone())).await {
            return Ok(Ran::Lost(error));
        }
        loop {
            match self.link.next().await {
                Ok(Said::Printed(bytes)) => {
                    log.append(&bytes).map_err(|source| Failure::Disk { doing: "keep the log", source })?;
                }
                Ok(Said::Ended(ended)) => return Ok(Ran::Ended(ended)),
                Ok(Said::Bye) => return Ok(Ran::Lost(io::Error::other("it said good-bye while a command ran"))),
                Err(error) => return Ok(Ran::Lost(error)),
            }
        }
    }

    /// Waits until the pod's disk has room for what lies on it.
    async fn room(&self, bytes: u64) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).clamp(1, ROOM_MIB);
        self.room.clone().acquire_many_owned(mib).await.map_err(|_| Failure::Stopped)
    }
}

/// Stages one datum's inputs; tried again while the store fails.
async fn stage(store: &Store, layout: &Layout, run: u64, inputs: &Inputs) -> Result<(), StageError> {
    let folder = layout.stage(run);
    let mut tries = 1;
    loop {
        let error = match inputs.stage(store, &folder).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_passing() || tries >= STAGE_TRIES {
            return Err(error);
        }
        tracing::warn!(tries, %error, "staging failed, will try again");
        tokio::time::sleep(pause(tries)).await;
        tries += 1;
        super::layout::remove(&folder).map_err(|error| StageError::io(&folder, error))?;
    }
}

fn stage_failure(error: &StageError) -> Failure {
    match error {
        StageError::Store(source) if error.is_passing() => Failure::store("stage inputs", source.clone()),
        StageError::Disk { source, .. } => {
            Failure::Disk { doing: "stage inputs", source: io::Error::new(source.kind(), error.to_string()) }
        }
        _ => Failure::ShardCannotProceed(format!("stage inputs: {error}")),
    }
}

/// The end of a run that the shim did not live to tell.
fn lost_run(started_ns: i64) -> Ended {
    Ended { outcome: Outcome::Signalled { signal: 9 }, oom_kills: 0, started_ns, ended_ns: unix_ns(), output_bytes: 0 }
}

fn unix_ns() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// Disk work of unknown length, beside the runtime's threads.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|source| Failure::Disk { doing, source })
}
