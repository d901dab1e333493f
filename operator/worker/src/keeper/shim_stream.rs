//! The keeper's end of the stream to the shim.

use std::io;
use std::path::Path;
use std::time::Duration;

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::pod::socket::through_folder;
use crate::protocol::{self, Ended, Hello, MAX_OUTPUT_BYTES, ToKeeper, ToShim};

/// Messages read ahead; with [`MAX_OUTPUT_BYTES`] each it bounds what the user's code can print
/// ahead of us to 1 MiB.
const READ_AHEAD: usize = 16;

/// What the shim says while a command runs.
#[derive(Debug)]
pub(crate) enum Said {
    /// The user's code printed this.
    Printed(Bytes),
    /// The run is over.
    Ended(Ended),
    /// The shim says good-bye.
    Bye,
}

/// The stream to the shim. A task of its own reads it, so that waiting for the next message can
/// be given up at any time without losing half of one.
#[derive(Debug)]
pub(crate) struct Link {
    writer: OwnedWriteHalf,
    said: mpsc::Receiver<io::Result<Said>>,
    /// How the shim introduced itself.
    pub hello: Hello,
    /// Owns the reading task: it ends with us.
    _reading: JoinSet<()>,
}

/// Opens the socket for the shim, which may run as any user.
pub(crate) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = through_folder(socket, |short| UnixListener::bind(short))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

impl Link {
    /// Waits for the shim's first frame, which says who it is. Only the first to connect is heard:
    /// that is the shim, since no user code runs before it is told to. So nobody listens while a shim is there, and
    /// for the next one the socket is opened anew.
    pub(crate) async fn accept(listener: UnixListener, within: Duration) -> io::Result<Self> {
        let hello = async {
            let (stream, _) = listener.accept().await?;
            Self::greet(stream).await
        };
        tokio::time::timeout(within, hello).await.unwrap_or_else(|_| {
            let message = format!("the user's container did not make contact within {} s", within.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn greet(stream: UnixStream) -> io::Result<Self> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::with_capacity(MAX_OUTPUT_BYTES as usize, reader);
        let hello = match read_message(&mut reader).await? {
            ToKeeper::Hello(hello) if hello.version == protocol::VERSION => hello,
            other => {
                let message =
                    format!("the shim must say hello with protocol version {}, not {other:?}", protocol::VERSION);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        };
        let (sender, said) = mpsc::channel(READ_AHEAD);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            loop {
                let message = read_said(&mut reader).await;
                let is_last = message.is_err();
                if sender.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self { writer, said, hello, _reading: reading })
    }

    /// Says something to the shim; an error means that it is gone.
    pub(crate) async fn send(&mut self, message: &ToShim) -> io::Result<()> {
        self.writer.write_all(&protocol::encode(message)?).await
    }

    /// What the shim says next; an error means that it is gone. May be given up and called again.
    pub(crate) async fn next(&mut self) -> io::Result<Said> {
        self.said.recv().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }
}

async fn read_said(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Said> {
    match read_message(reader).await? {
        ToKeeper::Output { bytes, .. } if bytes <= MAX_OUTPUT_BYTES => {
            let mut printed = vec![0; bytes as usize];
            reader.read_exact(&mut printed).await?;
            Ok(Said::Printed(printed.into()))
        }
        ToKeeper::Ended(ended) => Ok(Said::Ended(ended)),
        ToKeeper::Bye => Ok(Said::Bye),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the shim may not say {other:?}"))),
    }
}

async fn read_message(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<ToKeeper> {
    let mut length = [0; 4];
    reader.read_exact(&mut length).await?;
    let mut json = vec![0; protocol::checked_length(length)?];
    reader.read_exact(&mut json).await?;
    protocol::decode(&json)
}
