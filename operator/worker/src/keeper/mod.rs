//! The container beside the user's: fetches inputs ahead, collects outputs, records results.
//!
//! Alone in the pod it holds store access. [`shard`] is its main loop, [`record`] the one writer of
//! results, [`crate::pod::layout`] the folders that a datum passes through. What a datum's end means is decided
//! in [`verdict`], what runs next in [`queue`], whether a killed container is waited for in [`restarts`]: all pure. A
//! finished datum is never run again: [`plan`] reads from the store what is left, also after a crash at any point.

mod beneath;
mod environment;
mod error;
mod inputs;
mod log;
mod outputs;
mod plan;
mod queue;
mod record;
mod restarts;
mod shard;
mod shim_stream;
mod symlinks;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use varve_api::{exit_codes, pod};
use varve_store::Store;

use crate::pod::config::Config;
use crate::pod::layout::Layout;
use crate::pod::renewing::Renewing;
use crate::protocol::ToShim;
use crate::termination::Termination;
use error::{Failure, is_passing};
use queue::pause;
use record::{Recorder, Shard, Tally};
use restarts::AGAIN_WITHIN;
use shard::{Given, Server};
use shim_stream::{Link, Said};

/// Tries to open the store and read the plan before the pod gives up, about a minute.
const START_TRIES: u32 = 6;
/// How long the shim may take to answer our `Bye`. It has nothing left to do.
const BYE_WITHIN: Duration = Duration::from_secs(5);

/// The program, on a tokio runtime: returns the container's exit code.
pub async fn main() -> ExitCode {
    let mut progress = Progress::default();
    let served = keep(&mut progress).await;
    let (code, said) = match served {
        Ok(()) => (0, Termination::new("Done", "every datum of the shard is recorded")),
        Err(failure) => (failure.exit_code(), Termination::new(failure.reason(), failure.to_string())),
    };
    let said = Termination { recorded: progress.left.map(|_| progress.recorded), left: progress.left, ..said };
    if code == 0 {
        tracing::info!(recorded = progress.recorded, "shard done");
    } else {
        tracing::error!(
            code,
            reason = said.reason,
            recorded = progress.recorded,
            left = progress.left,
            "{}",
            said.message
        );
    }
    said.write();
    crate::exit_status(code)
}

/// Counts for the last words.
#[derive(Debug, Default)]
struct Progress {
    recorded: u64,
    /// None until the plan is read.
    left: Option<u64>,
}

async fn keep(progress: &mut Progress) -> Result<(), Failure> {
    let config = Config::from_env().map_err(|error| Failure::JobCannotProceed(error.to_string()))?;
    let stop = stop_on_signal()?;
    let layout = Layout::at(&config.volume);
    // Open for the shim before anything slow: its first contact has a deadline too.
    layout.reset().map_err(|source| Failure::Disk { doing: "clear the shared volume", source })?;
    let listener = shim_stream::listen(&layout.ctl().join(pod::SOCKET))
        .map_err(|source| Failure::Disk { doing: "open the socket", source })?;
    let (store, work) = start(&config, &stop).await?;
    let total = work.waiting.len() as u64;
    progress.left = Some(total);
    tracing::info!(datums = work.datums.len(), left = total, shard = config.identity.shard, "shard begins");

    let link = tokio::select! {
        link = Link::accept(listener, config.first_contact) => link.map_err(Failure::ShimLost)?,
        () = stop.cancelled() => return Err(Failure::Stopped),
    };
    let shard = Shard {
        store: store.clone(),
        identity: config.identity.clone(),
        devices: link.hello.devices.clone(),
        pfs: config.pfs.clone(),
    };
    let (attempts, inbox) = mpsc::channel(shard::WAITING_ATTEMPTS);
    let recording = tokio::spawn(Recorder::new(Arc::new(shard), work.next_record).run(inbox));
    // The image is there and need not be pulled, so it takes no longer than the first time.
    let again_within = config.restarts_in_place.then(|| config.first_contact.min(AGAIN_WITHIN));
    let server =
        Server::new(store, layout, work, link, Given { recorder: attempts, stop, pfs: config.pfs, again_within });
    let (link, work_done) = server.serve().await;
    // The server is gone, and with it the channel: the recorder ends once all is recorded.
    let (tally, recorded) =
        recording.await.unwrap_or_else(|_| (Tally::default(), Err(varve_store::Error::SessionEnded)));
    progress.recorded = tally.finished();
    let left = total - tally.finished();
    progress.left = Some(left);
    let outcome = match (recorded, work_done) {
        (Err(source), _) => Err(Failure::store("record results", source)),
        (Ok(()), Err(failure)) => Err(failure),
        (Ok(()), Ok(())) if left > 0 => Err(Failure::Stopped),
        (Ok(()), Ok(())) => Ok(()),
    };
    tracing::info!(succeeded = tally.succeeded, failed = tally.failed, "results recorded");
    part(link, if outcome.is_ok() { 0 } else { exit_codes::STOPPED }).await;
    outcome
}

/// Opens the store and reads what is left to do; tried again while the store fails.
async fn start(config: &Config, stop: &CancellationToken) -> Result<(Store, plan::Work), Failure> {
    let mut tries = 1;
    loop {
        let failure = match open(config).await {
            Ok(opened) => return Ok(opened),
            Err(failure @ Failure::Store { .. }) if tries < START_TRIES => failure,
            Err(failure) => return Err(failure),
        };
        tracing::warn!(tries, error = %failure, "can't begin, will try again");
        tokio::select! {
            () = tokio::time::sleep(pause(tries)) => {}
            () = stop.cancelled() => return Err(Failure::Stopped),
        }
        tries += 1;
    }
}

async fn open(config: &Config) -> Result<(Store, plan::Work), Failure> {
    let failed = |source: varve_store::Error| {
        if is_passing(&source) {
            Failure::store("open the store", source)
        } else {
            Failure::JobCannotProceed(format!("open the store: {source}"))
        }
    };
    let folder = config.store_folder.clone();
    let (objects, prefix) = Renewing::connect(folder, &config.store, config.allowed).map_err(failed)?;
    let store = Store::open(objects, prefix).await.map_err(failed)?;
    let work = plan::read(&store, config).await?;
    Ok((store, work))
}

/// Tells the shim to exit, and waits a moment for its answer so that both end together.
async fn part(mut link: Link, exit_code: i32) {
    if link.send(&ToShim::Bye { exit_code }).await.is_err() {
        return;
    }
    let answer = async { while !matches!(link.next().await, Ok(Said::Bye) | Err(_)) {} };
    if tokio::time::timeout(BYE_WITHIN, answer).await.is_err() {
        tracing::debug!("the shim did not answer our good-bye");
    }
}

/// Cancelled by SIGTERM or SIGINT. The task that waits for them ends with the process.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |source| Failure::Disk { doing: "install signal handlers", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        stopped.cancel();
    });
    Ok(stop)
}
