//! What ends a keeper early, and the exit code that tells Kubernetes what to do about it.

use std::io;
use std::path::Path;

use varve_api::exit_codes;
use varve_store::Error as StoreError;

use super::beneath::shown;

/// Why inputs could not be staged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// The plan says what no plan may say.
    #[error("the plan is unusable: {0}")]
    Plan(String),
    /// The store failed, or holds bytes that are not what was written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pod's own disk failed.
    #[error("stage {path}: {source}")]
    Disk {
        /// Where.
        path: String,
        /// The system's words.
        source: io::Error,
    },
}

impl StageError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Disk { path: shown(path), source }
    }

    /// Whether the same try may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Plan(_) => false,
            Self::Store(StoreError::Io { source, .. }) => !is_lasting(source),
            Self::Store(error) => is_passing(error),
            Self::Disk { source, .. } => !is_lasting(source),
        }
    }
}

/// Whether an error of the disk says something of what was asked, which no other time or pod will change.
pub(crate) fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidFilename // a legal path below a folder of ours may be too long for the system
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::Unsupported
    )
}

/// Whether the disk has no room for what was asked: another datum may still fit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a store error may go away by itself or by a change of configuration, so that the pod
/// should be tried again rather than given up.
pub(crate) fn is_passing(error: &StoreError) -> bool {
    error.is_retryable() || error.is_about_the_store()
}

/// Why a keeper ends with work left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The pod is being stopped.
    #[error("stopped before all datums of the shard were recorded")]
    Stopped,
    /// The pod is set up as no operator sets one up, or the plan cannot be read.
    #[error("{0}")]
    JobCannotProceed(String),
    /// An input of this shard cannot be read.
    #[error("{0}")]
    ShardCannotProceed(String),
    /// The user's container is gone.
    #[error("the user's container ended: {0}")]
    ShimLost(io::Error),
    /// The store fails for longer than we wait.
    #[error("{doing}: {source}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// The last error.
        source: Box<StoreError>,
    },
    /// The pod's own disk fails.
    #[error("{doing}: {source}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl Failure {
    pub(crate) fn store(doing: &'static str, source: StoreError) -> Self {
        Self::Store { doing, source: Box::new(source) }
    }

    /// The reason in the termination message.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::JobCannotProceed(_) => "PlanUnusable",
            Self::ShardCannotProceed(_) => "InputUnreadable",
            Self::ShimLost(_) => "ContainerLost",
            Self::Store { source, .. } => source.reason(),
            Self::Disk { .. } => "LocalDisk",
        }
    }

    /// The exit code, as the pod failure policy reads it.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Store { source, .. } if !is_passing(source) => exit_codes::SHARD_CANNOT_PROCEED,
            Self::Stopped | Self::Store { .. } | Self::Disk { .. } => exit_codes::STOPPED,
            Self::JobCannotProceed(_) => exit_codes::JOB_CANNOT_PROCEED,
            Self::ShardCannotProceed(_) => exit_codes::SHARD_CANNOT_PROCEED,
            Self::ShimLost(_) => exit_codes::KEEPER_LOST_SHIM,
        }
    }
}
