//! The objects on disk: one redb file, written by one thread.
//!
//! A write is acknowledged after the transaction that holds it. Writes that come while a transaction is under way
//! go into the next one together, so many at once cost little more than one.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{oneshot, watch};

use crate::api::object::Key;

/// The objects: `pipelines.varve.dev/sea/sums` → JSON.
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
/// Numbers about the file.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const FORMAT: &str = "format";
const VERSION: &str = "version";
/// What this program writes.
const FORMAT_NOW: u64 = 1;
/// How many writes one transaction takes; each waits for its answer, so no more wait than there are calls.
const MAX_TOGETHER: usize = 1024;

/// A state file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{path} is in use by another process: stop the other `varve dev`, or give this one a state folder of its own"
    )]
    InUse {
        /// The file.
        path: String,
    },
    /// It was written by a newer program.
    #[error("{path} has format {found}, and this program knows formats up to {known}: use a newer varve")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
    /// Something in it is not what was written.
    #[error("{path}: {what}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The disk or the file fails.
    #[error("open {path}: {source}")]
    Storage {
        /// The file.
        path: String,
        /// Why.
        source: Box<redb::Error>,
    },
}

/// What one or more calls wrote.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) version: u64,
    entries: Vec<(String, Option<Bytes>)>,
}

impl Batch {
    pub(super) fn put(&mut self, table: &str, key: &Key, text: Bytes) {
        self.entries.push((path(table, key), Some(text)));
    }

    pub(super) fn remove(&mut self, table: &str, key: &Key) {
        self.entries.push((path(table, key), None));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn path(table: &str, key: &Key) -> String {
    format!("{table}/{}/{}", key.namespace, key.name)
}

/// What was on disk: the last version, and each object with its table and key.
pub(crate) struct Kept {
    pub(crate) version: u64,
    pub(crate) objects: Vec<(String, Key, Vec<u8>)>,
}

type Waiting = (Batch, oneshot::Sender<Result<(), String>>);

/// The thread that writes.
pub(crate) struct Disk {
    queue: Option<mpsc::Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
    /// Why nothing can be written any more.
    failure: watch::Receiver<Option<String>>,
}

impl Disk {
    /// Opens or makes the file and reads all of it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Kept), OpenError> {
        let name = path.display().to_string();
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: name.clone() },
            error => OpenError::Storage { path: name.clone(), source: Box::new(error.into()) },
        })?;
        check_format(&database, &name)?;
        let kept =
            read(&database).map_err(|error| OpenError::Storage { path: name.clone(), source: Box::new(error) })?;
        let (queue, waiting) = mpsc::channel();
        let (fail, failure) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("varve-state".into())
            .spawn(move || write_all(&database, &waiting, &fail))
            .map_err(|error| OpenError::Broken { path: name, what: error.to_string() })?;
        Ok((Self { queue: Some(queue), thread: Some(thread), failure }, kept))
    }

    /// Hands a batch over; the answer comes when it is on disk. Batches are written in the order of these calls.
    pub(crate) fn write(&self, batch: Batch) -> oneshot::Receiver<Result<(), String>> {
        let (done, answer) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // A thread that is gone drops the sender, which the receiver sees.
            let _ = queue.send((batch, done));
        }
        answer
    }

    /// Waits until nothing can be written any more; gives the reason.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the thread that writes is gone".to_owned(),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn check_format(database: &Database, path: &str) -> Result<(), OpenError> {
    let storage = |error: redb::Error| OpenError::Storage { path: path.into(), source: Box::new(error) };
    let found = format_of(database).map_err(storage)?;
    match found {
        FORMAT_NOW => Ok(()),
        found if found > FORMAT_NOW => Err(OpenError::Newer { path: path.into(), found, known: FORMAT_NOW }),
        found => Err(OpenError::Broken { path: path.into(), what: format!("has the unknown format {found}") }),
    }
}

/// The format of the file; a new one gets today's.
fn format_of(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let found = numbers.get(FORMAT)?.map(|number| number.value());
        if found.is_none() {
            numbers.insert(FORMAT, FORMAT_NOW)?;
            transaction.open_table(OBJECTS)?;
        }
        found.unwrap_or(FORMAT_NOW)
    };
    transaction.commit()?;
    Ok(found)
}

fn read(database: &Database) -> Result<Kept, redb::Error> {
    let transaction = database.begin_read()?;
    let version = transaction.open_table(NUMBERS)?.get(VERSION)?.map_or(0, |number| number.value());
    let mut objects = Vec::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (path, text) = entry?;
        let mut parts = path.value().splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (table, namespace, name) = (part(), part(), part());
        objects.push((table, Key { namespace, name }, text.value().to_vec()));
    }
    Ok(Kept { version, objects })
}

fn write_all(database: &Database, waiting: &mpsc::Receiver<Waiting>, fail: &watch::Sender<Option<String>>) {
    while let Ok(first) = waiting.recv() {
        let together: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter().take(MAX_TOGETHER)).collect();
        let result = write(database, together.iter().map(|(batch, _)| batch)).map_err(|error| error.to_string());
        if let Err(error) = &result {
            fail.send_replace(Some(error.clone())); // before the answers, so that nobody takes their failure for another
        }
        for (_, done) in together {
            // Whoever asked may be gone; the write stands all the same.
            let _ = done.send(result.clone());
        }
        if let Err(error) = result {
            // What is in memory is ahead of the disk from here on: no later write may be acknowledged.
            tracing::error!(%error, "write the state file");
            return;
        }
    }
}

fn write<'a>(database: &Database, batches: impl Iterator<Item = &'a Batch>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        for batch in batches {
            for (path, text) in &batch.entries {
                match text {
                    Some(text) => drop(objects.insert(path.as_str(), &text[..])?),
                    None => drop(objects.remove(path.as_str())?),
                }
            }
            numbers.insert(VERSION, batch.version)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
