//! The main loop: one datum runs, the next is being staged, the last are being recorded.
//!
//! Where the user's container is killed and Kubernetes starts it again in its pod, the loop goes on with the new shim.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use varve_api::pod;
use varve_store::{Error as StoreError, Store};

use super::environment;
use super::error::{Failure, StageError, is_full, is_lasting, is_passing};
use super::inputs::Inputs;
use super::log::Log;
use super::plan::Work;
use super::queue::{Next, Queue, Waiting, pause};
use super::record::Attempt;
use super::restarts::{Restarts, was_killed};
use super::shim_stream::{self, Link, Said};
use super::verdict::{TryFailure, Verdict, exit_of, judge};
use crate::pod::layout::Layout;
use crate::pod::unix_ns;
use crate::protocol::{Ended, Memory, Outcome, Run, ToShim};

/// Tries to stage one datum's inputs before the pod gives up, about a minute.
const STAGE_TRIES: u32 = 6;
/// Finished outputs that may lie on the pod's disk before the next run waits for their upload, in MiB.
const ROOM_MIB: u32 = 1024;
/// How long after the shim we may be told that the pod is being stopped: Kubernetes tells all containers at once.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// Finished runs that may wait for the recorder.
pub(crate) const WAITING_ATTEMPTS: usize = 64;

/// Serves the datums of a shard, one after another.
pub(crate) struct Server {
    store: Store,
    layout: Layout,
    work: Work,
    queue: Queue,
    link: Link,
    recorder: mpsc::Sender<Attempt>,
    stop: CancellationToken,
    pfs: String,
    again_within: Option<Duration>,
    restarts: Restarts,
    room: Arc<Semaphore>,
    runs: u64,
}

/// What a server is given beside its work and the shim.
pub(crate) struct Given {
    pub recorder: mpsc::Sender<Attempt>,
    /// Set when the pod is being stopped.
    pub stop: CancellationToken,
    /// Where user code sees its files.
    pub pfs: String,
    /// How long a killed container may take to be there again; none where nobody starts it.
    pub again_within: Option<Duration>,
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
    /// The user's container was gone before it could begin.
    NotBegun(io::Error),
    /// The user's container is gone.
    Lost(io::Error),
    /// What it prints cannot be kept.
    LogLost(io::Error),
}

/// A try, ended one way or the other.
struct Tried {
    outcome: Result<(), TryFailure>,
    /// Exit code and signal.
    exit: (Option<i32>, Option<i32>),
    /// From when to when, Unix time.
    span_ns: (i64, i64),
    /// Of output.
    bytes: u64,
    log: Log,
}

impl Server {
    pub(crate) fn new(
        store: Store,
        layout: Layout,
        work: Work,
        link: Link,
        Given { recorder, stop, pfs, again_within }: Given,
    ) -> Self {
        let queue = Queue::new(work.waiting.iter().copied());
        let room = Arc::new(Semaphore::new(ROOM_MIB as usize));
        let restarts = Restarts::default();
        Self { store, layout, work, queue, link, recorder, stop, pfs, again_within, restarts, room, runs: 0 }
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
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.not_staged(waiting, run, error).await?;
                return Ok(true);
            }
            Err(error) => return Err(Failure::Disk { doing: "stage inputs", source: io::Error::other(error) }),
        }
        let layout = self.layout.clone();
        let presented = blocking(move || layout.present(run)).await;
        presented.map_err(|source| Failure::Disk { doing: "present inputs", source })?;
        if let Next::Ready(waiting) = self.queue.next(Instant::now()) {
            *next = Some(self.stage(waiting));
        }
        self.run(waiting, run).await?;
        Ok(true)
    }

    /// Waits for something while nothing runs: the pod may be stopped or the shim lost meanwhile.
    async fn idle<T>(&mut self, until: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(until);
        loop {
            let error = tokio::select! {
                biased; // no datum is begun with a shim that is known to be gone
                () = self.stop.cancelled() => return Err(Failure::Stopped),
                said = self.link.next() => match said {
                    Err(error) => error,
                    Ok(said) => io::Error::other(format!("it said {said:?} while nothing ran")),
                },
                done = &mut until => return Ok(done),
            };
            self.outlive(error).await?;
        }
    }

    /// Goes on with the next shim, if one comes, after one that was lost while nothing ran.
    async fn outlive(&mut self, error: io::Error) -> Result<(), Failure> {
        match self.listen_again(&error)? {
            Some(listener) => self.meet_again(listener).await,
            None => Err(Failure::ShimLost(error)),
        }
    }

    /// Opens the socket for the shim of the container that is started again, if one is. At once: whoever is refused for
    /// long takes us for dead.
    fn listen_again(&mut self, error: &io::Error) -> Result<Option<UnixListener>, Failure> {
        if self.again_within.is_none() || !was_killed(error) || !self.restarts.is_waited_for(Instant::now()) {
            return Ok(None);
        }
        tracing::warn!("the user's container ended without a word and is waited for");
        let listener = shim_stream::listen(&self.layout.ctl().join(pod::SOCKET));
        listener.map(Some).map_err(|source| Failure::Disk { doing: "open the socket", source })
    }

    /// Waits for that shim, which has opened what the user's code left by then, and clears it away.
    async fn meet_again(&mut self, listener: UnixListener) -> Result<(), Failure> {
        let nobody = |error: io::Error| {
            Failure::ShimLost(io::Error::new(
                error.kind(),
                format!("without a word, and was not started again: {error}"),
            ))
        };
        let link = tokio::select! {
            link = Link::accept(listener, self.again_within.unwrap_or_default()) => link.map_err(nobody)?,
            () = self.stop.cancelled() => return Err(Failure::Stopped),
            () = self.recorder.closed() => return Err(Failure::Stopped), // it says why itself
        };
        self.link = link;
        let (layout, run) = (self.layout.clone(), self.next_run());
        let cleared = blocking(move || layout.clear(run)).await;
        cleared.map_err(|source| Failure::Disk { doing: "clear what a killed run left", source })?;
        tracing::info!("the user's container was started again in its pod");
        Ok(())
    }

    fn next_run(&mut self) -> u64 {
        let run = self.runs;
        self.runs += 1;
        run
    }

    fn stage(&mut self, waiting: Waiting) -> Staging {
        let run = self.next_run();
        let inputs = self.work.datums[waiting.datum].1.clone();
        let (store, layout) = (self.store.clone(), self.layout.clone());
        Staging { waiting, run, task: tokio::spawn(async move { stage(&store, &layout, run, &inputs).await }) }
    }

    /// Runs the command for a datum whose inputs are in place, and hands the result on.
    async fn run(&mut self, waiting: Waiting, run: u64) -> Result<(), Failure> {
        let datum = self.work.datums[waiting.datum].0.clone();
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
        let lost = || Ended {
            outcome: Outcome::Signalled { signal: 9 },
            oom_kills: 0,
            memory: Memory::default(),
            running: Vec::new(),
            started_ns,
            ended_ns: unix_ns(),
            output_bytes: 0,
        };
        let mut again = Ok(None);
        // The run began, so it uses a try whatever ends the container or the pod with it: else the next would begin it
        // again, for ever.
        let (ended, mut outcome, mut end) = match ran {
            Ran::Ended(ended) => match judge(&ended, &self.work.task.accept_exit_codes, timeout_seconds) {
                Verdict::Succeeded => (ended, Ok(()), None),
                Verdict::Failed(failure) => (ended, Err(failure), None),
                Verdict::Stopped if self.is_being_stopped().await => return Err(Failure::Stopped),
                Verdict::Stopped => {
                    let error = io::Error::other("it was asked to stop from within");
                    (ended, Err(TryFailure::stopped_from_within()), Some(Failure::ShimLost(error)))
                }
            },
            // While the pod is being stopped its containers end in any order: no try is used.
            Ran::NotBegun(_) | Ran::Lost(_) if self.stop.is_cancelled() => return Err(Failure::Stopped),
            Ran::NotBegun(error) => {
                self.queue.back(waiting);
                return self.outlive(error).await;
            }
            Ran::Lost(error) => {
                again = self.listen_again(&error);
                let failure = TryFailure::shim_lost(self.link.hello.memory_limit);
                (lost(), Err(failure), Some(Failure::ShimLost(error)))
            }
            Ran::LogLost(source) => {
                let failure = TryFailure::disk("keep the log", &source);
                (lost(), Err(failure), Some(Failure::Disk { doing: "keep the log", source }))
            }
        };
        if end.is_none() {
            let layout = self.layout.clone();
            if let Err(source) = blocking(move || layout.take(run)).await {
                outcome = outcome.and(Err(TryFailure::disk("take the output", &source)));
                end = Some(Failure::Disk { doing: "take the output", source });
            }
        }
        let tried = Tried {
            outcome,
            exit: exit_of(&ended.outcome),
            span_ns: (ended.started_ns, ended.ended_ns),
            bytes: ended.output_bytes,
            log,
        };
        self.hand_on(waiting, run, tried).await?;
        match again? {
            Some(listener) => self.meet_again(listener).await,
            None => end.map_or(Ok(()), Err),
        }
    }

    /// Whether the pod is stopped: then we are told, too, at about the same time as the shim.
    async fn is_being_stopped(&self) -> bool {
        tokio::time::timeout(STOPPED_WITHIN, self.stop.cancelled()).await.is_ok()
    }

    /// Hands a try to the recorder, and has the datum run again if it failed and may.
    async fn hand_on(&mut self, waiting: Waiting, run: u64, end: Tried) -> Result<(), Failure> {
        let (datum, inputs) = self.work.datums[waiting.datum].clone();
        let tries = waiting.tries_used + 1;
        let is_last_try = tries >= self.work.task.tries.max(1);
        match &end.outcome {
            Ok(()) => tracing::debug!(datum = %hex::encode(&datum.hash), tries, "run succeeded"),
            Err(failure) => {
                tracing::info!(datum = %hex::encode(&datum.hash), tries, reason = failure.reason, is_last_try, "try failed");
                if !is_last_try && !failure.is_final {
                    self.queue.again(Waiting { tries_used: tries, ..waiting }, Instant::now());
                }
            }
        }
        let Tried { outcome, exit, span_ns: (started_ns, ended_ns), bytes, log } = end;
        let room = self.room(bytes + log.bytes()).await?;
        let done = self.layout.done(run);
        let attempt =
            Attempt { datum, inputs, tries, is_last_try, outcome, exit, started_ns, ended_ns, log, done, _room: room };
        // A recorder that gave up says why itself.
        self.recorder.send(attempt).await.map_err(|_| Failure::Stopped)
    }

    /// Uses a try of a datum whose inputs the pod's disk does not take.
    async fn not_staged(&mut self, waiting: Waiting, run: u64, error: StageError) -> Result<(), Failure> {
        let source = disk_error(error)?;
        let message = "stage inputs";
        let goes_on = is_full(&source) || is_lasting(&source);
        let now = unix_ns();
        let tried = Tried {
            outcome: Err(TryFailure::disk(message, &source)),
            exit: (None, None),
            span_ns: (now, now),
            bytes: 0,
            log: Log::spilling_to(self.layout.done(run).with_extension("log")),
        };
        self.hand_on(waiting, run, tried).await?;
        if goes_on { Ok(()) } else { Err(Failure::Disk { doing: message, source }) }
    }

    /// Has the shim run the command, and keeps what it prints.
    async fn attend(&mut self, request: &Run, log: &mut Log) -> Result<Ran, Failure> {
        if let Err(error) = self.link.send(&ToShim::Run(request.clone())).await {
            return Ok(Ran::NotBegun(error)); // not all of it was sent, so nothing of it was done
        }
        loop {
            let said = tokio::select! {
                said = self.link.next() => said,
                // It says why itself. What nobody can record any more need not run to its end.
                () = self.recorder.closed() => return Err(Failure::Stopped),
            };
            match said {
                Ok(Said::Printed(bytes)) => {
                    if let Err(source) = log.append(&bytes) {
                        return Ok(Ran::LogLost(source));
                    }
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
            // Its room may be what another datum lacks.
            let _ = crate::pod::layout::remove(&folder);
            return Err(error);
        }
        tracing::warn!(tries, %error, "staging failed, will try again");
        tokio::time::sleep(pause(tries)).await;
        tries += 1;
        crate::pod::layout::remove(&folder).map_err(|error| StageError::io(&folder, error))?;
    }
}

/// The disk's part in a failure to stage inputs; any other is not the datum's.
fn disk_error(error: StageError) -> Result<io::Error, Failure> {
    match error {
        StageError::Disk { ref source, .. } => Ok(io::Error::new(source.kind(), error.to_string())),
        StageError::Store(StoreError::Io { doing, source }) => {
            Ok(io::Error::new(source.kind(), format!("{doing}: {source}")))
        }
        StageError::Store(source) if is_passing(&source) => Err(Failure::store("stage inputs", source)),
        error => Err(Failure::ShardCannotProceed(format!("stage inputs: {error}"))),
    }
}

/// Disk work of unknown length, beside the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
