//! PID 1 of the user's unmodified container: runs the command once per datum.
//!
//! Connects to the keeper, which says what to run. One thread owns everything that happens and
//! takes [`Event`]s from a channel; the other threads (signals, the keeper's stream, the two
//! pipes of the running command) only feed it. The shim holds no credentials and knows nothing of
//! the store. It outlives no keeper: the end of the stream without a `Bye` ends it. Where its container was killed and
//! is started again, it first clears what the user's code left, which only the user may.

mod child;
mod config;
mod handover;
mod keeper_stream;
mod oom;
mod run;
mod tee;

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use varve_api::exit_codes;

use crate::protocol::{self, Hello, ToKeeper, ToShim};
use config::Config;
use keeper_stream::Link;

/// Everything that can happen to the shim.
#[derive(Debug)]
enum Event {
    /// The keeper said something.
    Keeper(ToShim),
    /// The keeper is gone: its end of the stream closed without a `Bye`.
    KeeperGone,
    /// The pod is being stopped.
    Terminate,
    /// Some child may have ended.
    ChildChanged,
    /// Nothing more will come from one of the running command's pipes.
    PipeClosed,
}

/// Why the shim ends other than by the keeper's word.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("the keeper did not open {socket} within {seconds} s")]
    NoFirstContact { socket: String, seconds: u64 },
    #[error("the keeper is gone")]
    KeeperGone,
    #[error("stopped before the keeper said what to run")]
    Stopped,
    #[error("{doing}")]
    Io { doing: &'static str, source: std::io::Error },
}

impl Fatal {
    fn exit_code(&self) -> i32 {
        match self {
            Self::Stopped => exit_codes::STOPPED,
            Self::NoFirstContact { .. } | Self::KeeperGone | Self::Io { .. } => exit_codes::SHIM_LOST_KEEPER,
        }
    }
}

/// The program, given its arguments: returns the container's exit code.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    if arguments.next().as_deref() == Some("noop") {
        return ExitCode::SUCCESS; // the probe pod: the image was pulled, that is all we wanted to know
    }
    match serve(&Config::from_env()) {
        Ok(code) => crate::exit_status(code),
        Err(fatal) => {
            eprintln!("varve-shim: {}", with_source(&fatal));
            crate::exit_status(fatal.exit_code())
        }
    }
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn serve(config: &Config) -> Result<i32, Fatal> {
    child::adopt_orphans();
    let (sender, events) = mpsc::channel();
    watch_signals(sender.clone())?;
    let link = connect(config, &sender, &events)?;
    let mut shim = Shim { config, link, sender, events, stop_by: None, running: Vec::new() };
    loop {
        match shim.next_event() {
            Some(Event::Keeper(ToShim::Run(run))) => {
                let ended = shim.run(&run)?;
                shim.send(&ToKeeper::Ended(ended))?;
            }
            Some(Event::Keeper(ToShim::Bye { exit_code })) => {
                let _ = shim.link.send(&ToKeeper::Bye, &[]); // the keeper may be gone already: it said Bye
                return Ok(exit_code);
            }
            Some(Event::KeeperGone) => return Err(Fatal::KeeperGone),
            Some(Event::Terminate) => shim.begin_to_stop(),
            Some(Event::ChildChanged) => {
                child::reap(None);
            }
            Some(Event::PipeClosed) => {}
            None => {
                let _ = shim.link.send(&ToKeeper::Bye, &[]); // asked to stop, and the keeper said nothing in time
                return Ok(exit_codes::STOPPED);
            }
        }
    }
}

/// The one owner of what happens.
struct Shim<'a> {
    config: &'a Config,
    link: Link,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// Set once the pod is being stopped: by when to exit even if the keeper stays silent.
    stop_by: Option<Instant>,
    /// What was running when the command's time was up.
    running: Vec<String>,
}

impl Shim<'_> {
    /// The next event, or `None` when the time to stop has run out.
    fn next_event(&self) -> Option<Event> {
        match self.stop_by {
            None => self.events.recv().ok(),
            Some(by) => self.events.recv_timeout(by.saturating_duration_since(Instant::now())).ok(),
        }
    }

    fn begin_to_stop(&mut self) {
        self.stop_by.get_or_insert_with(|| Instant::now() + self.config.stop_deadline);
    }

    fn send(&self, message: &ToKeeper) -> Result<(), Fatal> {
        self.link.send(message, &[]).map_err(|_| Fatal::KeeperGone)
    }
}

fn watch_signals(sender: Sender<Event>) -> Result<(), Fatal> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGCHLD])
        .map_err(|source| Fatal::Io { doing: "install signal handlers", source })?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGCHLD { Event::ChildChanged } else { Event::Terminate };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Waits for the keeper's socket, says hello, and starts to listen.
fn connect(config: &Config, sender: &Sender<Event>, events: &Receiver<Event>) -> Result<Link, Fatal> {
    let memory_limit = oom::memory(&config.cgroup).limit;
    let hello = Hello { version: protocol::VERSION, devices: config.devices(), memory_limit };
    let give_up = Instant::now() + config.first_contact;
    let mut refused_since = None;
    loop {
        match Link::open(&config.socket, &config.out, &hello, sender.clone()) {
            Ok(link) => return Ok(link),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                if refused_since.get_or_insert_with(Instant::now).elapsed() >= config.refused {
                    return Err(Fatal::KeeperGone);
                }
            }
            Err(_) => refused_since = None,
        }
        match events.recv_timeout(config::CONNECT_INTERVAL) {
            Ok(Event::Terminate) => return Err(Fatal::Stopped),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Fatal::KeeperGone),
        }
        if Instant::now() >= give_up {
            return Err(Fatal::NoFirstContact {
                socket: config.socket.display().to_string(),
                seconds: config.first_contact.as_secs(),
            });
        }
    }
}
