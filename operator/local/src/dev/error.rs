//! What ends `varve dev`, in words for whoever started it.

use std::io;
use std::path::PathBuf;

use crate::runner::words;

/// Why it can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of ours can't be read or written.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    File {
        /// `read`, `write`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// What is to be applied isn't there.
    #[error("{} is not there: name YAML files, or folders of them", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another one works here.
    #[error("another varve dev{by} works on {}: stop it, or give this one a folder of its own by --state", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// ` (process 17)`, where it is known.
        by: String,
    },
    /// A later version has been here.
    #[error("{} is of version {found} and this varve knows {known}: use a newer varve, or give this one a folder of its own by --state", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: String,
        /// Ours.
        known: u32,
    },
    /// The port that was asked for is taken.
    #[error(
        "port {port} of 127.0.0.1 can't be had: {source}: name another by --port, or none to take any that is free"
    )]
    Port {
        /// The port.
        port: u16,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// No port at all.
    #[error("serve the API: {0}")]
    Listen(#[source] io::Error),
    /// The objects can't be opened.
    #[error("open the objects: {0}")]
    Objects(#[source] crate::api::OpenError),
    /// The objects can't be written any more, mostly because the disk is full.
    #[error("write the objects in {}: {why}: make room there and start again; what was told as done is kept", path.display())]
    Disk {
        /// The state folder.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Code can't be run.
    #[error(transparent)]
    Runner(crate::runner::Error),
    /// The API in this process refused what must work.
    #[error("{doing}: {}", words(source))]
    Api {
        /// What was being done.
        doing: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The store in the folder can't be used.
    #[error("{doing}: {source}")]
    Store {
        /// What was being done.
        doing: String,
        /// Its words.
        #[source]
        source: Box<varve_store::Error>,
    },
    /// A Repo that is not ready.
    #[error("Repo {repo} is not ready yet")]
    NotReady {
        /// Its name.
        repo: String,
    },
    /// A folder that a Repo names isn't there.
    #[error("{} is not there, or no folder: make it, or correct the annotation, which counts from the file it stands in", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A Commit of a folder's files that has not become the branch's head.
    #[error(
        "Commit {commit} has not landed: it is tried again when a file changes, and at the next start (kubectl describe vcommit {commit} says why)"
    )]
    NotLanded {
        /// Its name.
        commit: String,
    },
    /// A part of the process ended early.
    #[error("a part of varve dev ended by itself: see the log in its state folder")]
    Ended,
}

/// What to do about a file that fails, where that can be told.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::StorageFull { ": make room there and start again" } else { "" }
}

impl From<crate::runner::Error> for Error {
    fn from(error: crate::runner::Error) -> Self {
        match error {
            crate::runner::Error::Folder { folder, source } => Self::File { doing: "use", path: folder, source },
            error => Self::Runner(error),
        }
    }
}

impl Error {
    pub(super) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    pub(super) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Api { doing, source: Box::new(source) }
    }

    pub(super) fn store(doing: impl Into<String>) -> impl FnOnce(varve_store::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Store { doing, source: Box::new(source) }
    }
}
