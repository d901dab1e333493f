//! What containers printed, for `pods/log`: read from the files that they print to.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use super::folder::PodFolder;
use crate::api::{LogRequest, LogSource};

/// Between two looks at a log that is followed: a reader notices nothing, and nothing else waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// The logs of this machine's pods.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: PathBuf,
    printing: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// A container that may print; it does not any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Printing {
    logs: Logs,
    container: (String, String),
}

impl Drop for Printing {
    fn drop(&mut self) {
        self.logs.printing().remove(&self.container);
    }
}

impl Logs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, printing: Arc::default() }
    }

    /// Says that a container prints from now on.
    pub(crate) fn begin(&self, pod_uid: &str, container: &str) -> Printing {
        let container = (pod_uid.to_owned(), container.to_owned());
        self.printing().insert(container.clone());
        Printing { logs: self.clone(), container }
    }

    fn printing(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.printing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_printing(&self, pod_uid: &str, container: &str) -> bool {
        self.printing().contains(&(pod_uid.to_owned(), container.to_owned()))
    }
}

#[async_trait]
impl LogSource for Logs {
    async fn log(&self, request: LogRequest) -> Result<BoxStream<'static, io::Result<Bytes>>, String> {
        if request.is_previous {
            let (container, pod) = (&request.container, &request.pod);
            return Err(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found"));
        }
        let path = PodFolder::of(&self.folder, &request.pod_uid).log(&request.container);
        let mut file = File::open(&path).await.map_err(|_| {
            let (container, pod) = (&request.container, &request.pod);
            format!("container \"{container}\" in pod \"{pod}\" is waiting to start: ContainerCreating")
        })?;
        if let Some(lines) = request.tail_lines {
            let start = start_of_tail(&mut file, lines).await.map_err(|error| error.to_string())?;
            file.seek(SeekFrom::Start(start)).await.map_err(|error| error.to_string())?;
        }
        let left = request.limit_bytes.unwrap_or(u64::MAX);
        let reading = Reading { logs: self.clone(), request, file, left };
        Ok(stream::unfold(reading, Reading::next).boxed())
    }
}

struct Reading {
    logs: Logs,
    request: LogRequest,
    file: File,
    /// How many bytes may still be given.
    left: u64,
}

impl Reading {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            // Asked before it is read: what was printed until then is read.
            let may_grow =
                self.request.is_following && self.logs.is_printing(&self.request.pod_uid, &self.request.container);
            let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let mut piece = vec![0; room];
            match self.file.read(&mut piece).await {
                Ok(0) if may_grow && room > 0 => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(0) => return None,
                Ok(length) => {
                    piece.truncate(length);
                    self.left -= length as u64;
                    return Some((Ok(piece.into()), self));
                }
                Err(error) => {
                    self.left = 0;
                    return Some((Err(error), self));
                }
            }
        }
    }
}

/// Where the last so many lines begin; the file is read backwards.
async fn start_of_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(end);
    }
    let mut seen = 0;
    let mut is_last = true;
    let mut piece = vec![0; PIECE_BYTES];
    while end > 0 {
        let length = end.min(PIECE_BYTES as u64);
        end -= length;
        let piece = &mut piece[..usize::try_from(length).unwrap_or(PIECE_BYTES)];
        file.seek(SeekFrom::Start(end)).await?;
        file.read_exact(piece).await?;
        for (at, byte) in piece.iter().enumerate().rev() {
            if *byte == b'\n' && !is_last {
                seen += 1;
                if seen == lines {
                    return Ok(end + at as u64 + 1);
                }
            }
            is_last = false; // the newline at the very end begins no line
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn request(is_following: bool, tail_lines: Option<u64>, limit_bytes: Option<u64>) -> LogRequest {
        LogRequest {
            namespace: "lab".into(),
            pod: "edges-0".into(),
            pod_uid: "u-1".into(),
            container: "user".into(),
            is_following,
            is_previous: false,
            tail_lines,
            since_seconds: None,
            limit_bytes,
            has_timestamps: false,
        }
    }

    fn logs(text: &str) -> (tempfile::TempDir, Logs) {
        let root = tempfile::tempdir().unwrap();
        let folder = PodFolder::of(root.path(), "u-1");
        folder.create(["user"].into_iter()).unwrap();
        std::fs::write(folder.log("user"), text).unwrap();
        let logs = Logs::new(root.path().to_owned());
        (root, logs)
    }

    async fn read(logs: &Logs, request: LogRequest) -> String {
        let pieces: Vec<Bytes> = logs.log(request).await.unwrap().try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn a_log_is_read_whole_or_from_its_end() {
        let (_root, logs) = logs("one\ntwo\nthree\n");
        assert_eq!(read(&logs, request(false, None, None)).await, "one\ntwo\nthree\n");
        assert_eq!(read(&logs, request(false, Some(2), None)).await, "two\nthree\n");
        assert_eq!(read(&logs, request(false, Some(9), Some(5))).await, "one\nt");
        assert_eq!(read(&logs, request(false, Some(0), None)).await, "");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_until_its_container_ends() {
        let (root, logs) = logs("one\n");
        let printing = logs.begin("u-1", "user");
        let mut pieces = logs.log(request(true, None, None)).await.unwrap();
        assert_eq!(pieces.next().await.unwrap().unwrap(), "one\n");
        let path = PodFolder::of(root.path(), "u-1").log("user");
        std::fs::write(path, "one\ntwo\n").unwrap();
        assert_eq!(pieces.next().await.unwrap().unwrap(), "two\n");
        drop(printing);
        assert!(pieces.next().await.is_none());
    }
}
