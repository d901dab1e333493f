//! What one run printed: a little in memory, the rest on disk, the last lines at hand.

use std::fs::File;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt};

/// A log up to this size never touches the disk; most are shorter.
const MEMORY_BYTES: usize = 64 << 10;

/// What a run prints beyond this is dropped, and the log says so: it shares the pod's disk with
/// inputs and outputs.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// What a record keeps of a log.
const TAIL_BYTES: usize = 2 << 10;

/// The log of one run.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    bytes: u64,
    /// The last bytes printed, at most twice [`TAIL_BYTES`].
    tail: Vec<u8>,
}

impl Log {
    /// An empty log that would spill to `path`.
    pub(crate) fn spilling_to(path: PathBuf) -> Self {
        Self { path, memory: Vec::new(), file: None, bytes: 0, tail: Vec::new() }
    }

    /// Where the log lies on the disk, if it does.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.is_some().then_some(self.path.as_path())
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what was printed.
    pub(crate) fn append(&mut self, printed: &[u8]) -> io::Result<()> {
        self.tail.extend_from_slice(&printed[printed.len().saturating_sub(2 * TAIL_BYTES)..]);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        if self.bytes >= MAX_LOG_BYTES {
            return Ok(());
        }
        self.keep(printed)?;
        if self.bytes >= MAX_LOG_BYTES {
            self.keep(format!("\n[varve: log cut after {} MiB]\n", MAX_LOG_BYTES >> 20).as_bytes())?;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY_BYTES {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let file = if let Some(file) = &mut self.file {
            file
        } else {
            let mut file = File::create(&self.path)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file.insert(file)
        };
        file.write_all(bytes)
    }

    /// The tail and the whole log from its start, with a line of our own at the end of both where
    /// the user's code could not speak for itself. May be asked more than once.
    pub(crate) async fn with_note(&self, note: Option<&str>) -> io::Result<(String, impl AsyncRead + Send + Unpin)> {
        let separator = if self.tail.last().is_none_or(|&byte| byte == b'\n') { "" } else { "\n" };
        let line = note.map(|note| format!("{separator}[varve: {note}]\n")).unwrap_or_default();
        let line = shorten(&line, TAIL_BYTES / 2);
        let tail = self.tail(TAIL_BYTES - line.len()) + &line;
        let (memory, file): (_, Box<dyn AsyncRead + Send + Unpin>) = match self.file {
            Some(_) => (Vec::new(), Box::new(tokio::fs::File::open(&self.path).await?)),
            None => (self.memory.clone(), Box::new(tokio::io::empty())),
        };
        Ok((tail, Cursor::new(memory).chain(file).chain(Cursor::new(line.into_bytes()))))
    }

    /// The last whole lines printed, as text of at most `limit` bytes.
    fn tail(&self, limit: usize) -> String {
        let mut last = &self.tail[self.tail.len().saturating_sub(limit)..];
        if (last.len() as u64) < self.bytes
            && let Some(newline) = last.iter().position(|&byte| byte == b'\n').filter(|&at| at + 1 < last.len())
        {
            last = &last[newline + 1..];
        }
        let mut text = String::from_utf8_lossy(last).into_owned();
        while text.len() > limit {
            text.remove(0); // bytes that are no text grow when replaced
        }
        text
    }
}

fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit - 5).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…]\n", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(log: &Log, note: Option<&str>) -> (String, Vec<u8>) {
        let mut all = Vec::new();
        let (tail, mut reader) = log.with_note(note).await.unwrap();
        reader.read_to_end(&mut all).await.unwrap();
        (tail, all)
    }

    #[tokio::test]
    async fn a_long_log_is_whole_and_its_tail_starts_at_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::spilling_to(folder.path().join("log"));
        let mut expected = Vec::new();
        for line in 0..20_000 {
            let text = format!("line {line}\n");
            log.append(text.as_bytes()).unwrap();
            expected.extend_from_slice(text.as_bytes());
        }
        let (tail, all) = read(&log, None).await;
        assert_eq!(all, expected);
        assert!(tail.starts_with("line ") && tail.ends_with("line 19999\n") && tail.len() <= TAIL_BYTES);
    }

    #[tokio::test]
    async fn a_note_stands_on_a_line_of_its_own_in_log_and_tail() {
        let mut log = Log::spilling_to("/nonexistent/log".into());
        log.append(b"half a line").unwrap();
        let (tail, all) = read(&log, Some("the command exited with code 7")).await;
        assert_eq!(tail, "half a line\n[varve: the command exited with code 7]\n");
        assert_eq!(all, tail.as_bytes());
        assert_eq!(read(&log, None).await.1, b"half a line");
    }

    #[tokio::test]
    async fn neither_bytes_that_are_no_text_nor_a_long_note_exceed_the_tail() {
        let mut log = Log::spilling_to("/nonexistent/log".into());
        log.append(&[0xff; 3000]).unwrap();
        assert!(read(&log, Some(&"ü".repeat(3000))).await.0.len() <= TAIL_BYTES);
    }
}
