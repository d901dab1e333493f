//! Copies what the user's code prints to the container's own streams and to the keeper.

use std::io::{self, Read, Write};
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;
use super::keeper_stream::{Link, Over};
use crate::protocol::{self, MAX_OUTPUT_BYTES, Stream, ToKeeper};

/// Copies until the pipe closes, then says so; once the run is over, only to the container's own streams. Reads no more than it can hand on, so whoever
/// prints faster than the keeper takes waits in its own `write`.
pub(super) fn copy(
    mut pipe: impl Read + Send + 'static,
    stream: Stream,
    link: Link,
    over: Over,
    events: Sender<Event>,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; MAX_OUTPUT_BYTES as usize];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => hand_on(&buffer[..length], stream, &link, &over),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        link.unless_over(&over, |_| drop(events.send(Event::PipeClosed)));
    });
}

/// A reader that is gone is no reason to stop the user's code: its death is noticed elsewhere.
fn hand_on(printed: &[u8], stream: Stream, link: &Link, over: &Over) {
    let _ = match stream {
        Stream::Stdout => write_through(io::stdout().lock(), printed),
        Stream::Stderr => write_through(io::stderr().lock(), printed),
    };
    let bytes = u32::try_from(printed.len()).unwrap_or(MAX_OUTPUT_BYTES);
    link.unless_over(over, |to| drop(protocol::write_frame(to, &ToKeeper::Output { stream, bytes }, printed)));
}

fn write_through(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
