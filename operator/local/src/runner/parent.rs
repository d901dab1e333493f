//! Processes that end when `varve dev` does, however it ends.
//!
//! Linux signals a process when the thread that started it is gone. So all are started by one thread, which lives as
//! long as the runner; and each asks for the signal itself, as its first act, since asking for it on a child's behalf
//! takes unsafe code.

use std::os::fd::AsFd;
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Whose end is ours: a process id. The prefix keeps it from the user's code.
pub(crate) const ENV_PARENT: &str = "VARVE_SHIM_PARENT";

/// For programs that end at once.
pub const KILL: Signal = Signal::KILL;
/// For programs that clear away what they started.
pub const ASK: Signal = Signal::TERM;

/// Has this process signalled when the runner that started it is gone; does nothing where none did.
pub fn end_with(signal: Signal) {
    let parent = std::env::var(ENV_PARENT).ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    let Some(parent) = parent else { return };
    let _ = rustix::process::set_parent_process_death_signal(Some(signal));
    if rustix::process::getppid() != Some(parent) {
        std::process::exit(varve_api::exit_codes::STOPPED); // it was gone before we asked
    }
}

/// Whether whoever holds the other end of a pipe is gone. A process 1 of a PID namespace learns by it what
/// [`end_with`] learns by the parent's id, which is 0 to it always.
pub(crate) fn has_hung_up(end: impl AsFd) -> rustix::io::Result<bool> {
    let mut pipe = [PollFd::new(&end, PollFlags::empty())];
    rustix::event::poll(&mut pipe, Some(&Timespec::default()))?;
    Ok(pipe[0].revents().contains(PollFlags::HUP))
}

type Request = (Command, oneshot::Sender<std::io::Result<Child>>);

/// The thread that starts processes. It ends when the last of its handles is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Starter {
    requests: mpsc::Sender<Request>,
}

impl Starter {
    /// Must be called within a tokio runtime, which looks after the children.
    pub(crate) fn new() -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Self { requests })
    }

    pub(crate) async fn start(&self, mut command: Command) -> std::io::Result<Child> {
        let gone = || std::io::Error::other("the thread that starts processes is gone");
        command.env(ENV_PARENT, std::process::id().to_string());
        let (answer, started) = oneshot::channel();
        self.requests.send((command, answer)).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_tells_that_its_other_end_is_gone() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!has_hung_up(&reader).unwrap());
        drop(writer);
        assert!(has_hung_up(&reader).unwrap());
    }
}
