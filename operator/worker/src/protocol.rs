//! What shim and keeper say to each other over their one Unix stream.
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON. After an
//! [`ToKeeper::Output`] frame its raw bytes follow, so that a log stays byte-exact and costs no
//! escaping. EOF without a `Bye` means that the other side is dead. Both programs come from one
//! image, so the version only guards against an overlay that mixes two.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of this protocol; both sides must say the same.
pub const VERSION: u32 = 2;

/// Longest JSON frame. A command line and environment are at most a few MiB on Linux (`ARG_MAX`).
pub const MAX_FRAME_BYTES: u32 = 8 << 20;

/// Longest run of raw bytes after one [`ToKeeper::Output`] frame.
pub const MAX_OUTPUT_BYTES: u32 = 64 << 10;

/// From the keeper to the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToShim {
    /// Run the command once, for one datum; answered by output and one [`ToKeeper::Ended`].
    Run(Run),
    /// Nothing more will come: exit with this code.
    Bye {
        /// The shim's exit code: 0 when the shard is done, 75 when work is left.
        exit_code: i32,
    },
}

/// One execution of the user's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Program and arguments, already resolved from the image and the Pipeline.
    pub argv: Vec<String>,
    /// Where to run it; the container's own working directory if absent.
    pub working_dir: Option<String>,
    /// Variables added to the container's own environment.
    pub env: Vec<(String, String)>,
    /// How long the user's code may run.
    pub timeout_seconds: Option<u64>,
}

/// From the shim to the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToKeeper {
    /// The first frame.
    Hello(Hello),
    /// The user's code printed something; `bytes` raw bytes follow this frame.
    Output {
        /// Where it was printed.
        stream: Stream,
        /// How many raw bytes follow, at most [`MAX_OUTPUT_BYTES`].
        bytes: u32,
    },
    /// The datum's run is over, no process of it is left, and `/pfs/out` may be taken.
    Ended(Ended),
    /// The answer to the keeper's `Bye`, just before the shim exits; or unasked, where it ends by itself. Who hears none
    /// knows that the shim was killed.
    Bye,
}

/// How the shim introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The shim's [`VERSION`].
    pub version: u32,
    /// The devices that the container was given, as its environment names them.
    pub devices: Vec<String>,
    /// How much memory the container may use, in bytes, if there is a limit: once it is passed the shim may not live to
    /// say so.
    pub memory_limit: Option<u64>,
}

/// One of the two streams that a program prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How one run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// What became of the main process.
    pub outcome: Outcome,
    /// By how much the container's count of out-of-memory kills rose meanwhile.
    pub oom_kills: u64,
    /// The container's memory, where processes were killed for lack of it.
    pub memory: Memory,
    /// What was running when its time was up, a command in each.
    pub running: Vec<String>,
    /// When the command started, Unix time in nanoseconds.
    pub started_ns: i64,
    /// When it ended.
    pub ended_ns: i64,
    /// Bytes of regular files left in `/pfs/out`; a hint for flow control, not trusted.
    pub output_bytes: u64,
}

/// What the kernel says of a container's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The most that it ever used.
    pub peak: Option<u64>,
    /// What it may use.
    pub limit: Option<u64>,
}

/// What became of the main process of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// It was ended by a signal that the shim did not send.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It ran longer than it may and was stopped.
    TimedOut,
    /// The pod is being stopped, and the command was stopped with it.
    Stopped,
    /// It could not be started.
    NotStarted(NotStarted),
}

/// Why a command could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotStarted {
    /// The kind of failure, for conditions and messages.
    pub reason: StartFailure,
    /// The exit code that a shell would give: 127 not found, 126 not executable.
    pub code: i32,
    /// What was tried and why it failed, for the user.
    pub message: String,
}

/// The kinds of failure to start a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// No such program in the image.
    CommandNotFound,
    /// The file is there, but can't be executed.
    CommandNotExecutable,
    /// The working directory doesn't exist or can't be entered.
    WorkingDirectoryUnusable,
}

impl StartFailure {
    /// The reason as records and conditions write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommandNotFound => "CommandNotFound",
            Self::CommandNotExecutable => "CommandNotExecutable",
            Self::WorkingDirectoryUnusable => "WorkingDirectoryUnusable",
        }
    }
}

/// The frame's bytes, length included.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(io::Error::other)?;
    let length = frame_length(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The message in a frame's JSON.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> io::Result<T> {
    serde_json::from_slice(json).map_err(|source| io::Error::new(io::ErrorKind::InvalidData, source))
}

/// Writes one frame and, at once, the raw bytes that belong to it.
pub fn write_frame<T: Serialize>(to: &mut impl Write, message: &T, raw: &[u8]) -> io::Result<()> {
    let mut frame = encode(message)?;
    frame.extend_from_slice(raw);
    to.write_all(&frame)
}

/// Reads one frame; `None` at a clean end of the stream.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut json = vec![0; checked_length(length)?];
    from.read_exact(&mut json)?;
    decode(&json).map(Some)
}

/// A frame's declared length, refused before anything is allocated if it is too long.
pub fn checked_length(prefix: [u8; 4]) -> io::Result<usize> {
    frame_length(u32::from_le_bytes(prefix) as usize).map(|length| length as usize)
}

fn frame_length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).ok().filter(|&length| length <= MAX_FRAME_BYTES).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a frame may have {MAX_FRAME_BYTES} bytes, not {bytes}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_read_back_is_what_was_written() {
        let run = ToShim::Run(Run {
            argv: vec!["sh".into(), "-c".into(), "true".into()],
            working_dir: Some("/work".into()),
            env: vec![("images".into(), "/pfs/images/a.png".into())],
            timeout_seconds: Some(7),
        });
        let mut stream = Vec::new();
        write_frame(&mut stream, &run, &[]).unwrap();
        write_frame(&mut stream, &ToShim::Bye { exit_code: 75 }, &[]).unwrap();
        let mut reader = stream.as_slice();
        assert_eq!(read_frame::<ToShim>(&mut reader).unwrap(), Some(run));
        assert_eq!(read_frame::<ToShim>(&mut reader).unwrap(), Some(ToShim::Bye { exit_code: 75 }));
        assert_eq!(read_frame::<ToShim>(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_frame_that_declares_too_much_is_refused_before_it_is_read() {
        let mut stream: &[u8] = &u32::MAX.to_le_bytes();
        assert_eq!(read_frame::<ToShim>(&mut stream).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_an_error_and_no_clean_end() {
        let frame = encode(&ToShim::Bye { exit_code: 0 }).unwrap();
        assert!(read_frame::<ToShim>(&mut &frame[..frame.len() - 1]).is_err());
    }
}
