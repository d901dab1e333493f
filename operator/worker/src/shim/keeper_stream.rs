//! The shim's end of the stream to the keeper.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use super::{Event, handover};
use crate::pod::socket::through_folder;
use crate::protocol::{self, Hello, ToKeeper};

/// Writes frames whole, from any thread. A slow keeper blocks the writer: that is the bound on
/// what the user's code can print ahead of it.
#[derive(Debug, Clone)]
pub(super) struct Link(Arc<Mutex<UnixStream>>);

/// Whether a run is over. What is printed later, by a process that could not be killed, belongs to no run.
#[derive(Debug, Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Link {
    /// Connects, clears `out`, says hello and starts the thread that turns frames into events.
    pub(super) fn open(socket: &Path, out: &Path, hello: &Hello, events: Sender<Event>) -> io::Result<Self> {
        let stream = through_folder(socket, |short| UnixStream::connect(short))?;
        // Not before: a keeper that listens again wants nothing any more of what the killed run left.
        handover::clear(out);
        let reader = stream.try_clone()?;
        let link = Self(Arc::new(Mutex::new(stream)));
        link.send(&ToKeeper::Hello(hello.clone()), &[])?;
        thread::spawn(move || listen(reader, &events));
        Ok(link)
    }

    /// Does this unless the run is over, and holds up its end meanwhile.
    pub(super) fn unless_over(&self, over: &Over, act: impl FnOnce(&mut UnixStream)) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !over.0.load(Ordering::Relaxed) {
            act(&mut stream);
        }
    }

    /// Ends a run: nothing of it is said after this.
    pub(super) fn end(&self, over: &Over) {
        let _stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        over.0.store(true, Ordering::Relaxed);
    }

    /// Sends one frame and the raw bytes that belong to it.
    pub(super) fn send<T: Serialize>(&self, message: &T, raw: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        protocol::write_frame(&mut *stream, message, raw)
    }
}

fn listen(mut reader: UnixStream, events: &Sender<Event>) {
    while let Ok(Some(message)) = protocol::read_frame(&mut reader) {
        if events.send(Event::Keeper(message)).is_err() {
            return;
        }
    }
    let _ = reader.shutdown(Shutdown::Both); // wakes a writer that waits for a keeper that is gone
    let _ = events.send(Event::KeeperGone);
}
