//! What goes wrong in the controllers, and what each failure means for its object.
//!
//! Every variant knows two things: the reason (a word of the closed set that conditions,
//! Events and logs use) and whether trying again can help. The runner turns the second into a backoff; a
//! controller turns both into conditions. No IO here.

use std::fmt;

use varve_api::conditions::Reason;
use varve_engine::{commit::CommitError, inputs::InputError, plan::PlanError, pod::PodError};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether doing the same again may end otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass by itself: try again, later and later. The object is `Ready=False`.
    Backoff,
    /// Somebody must change something: the object is `Stalled`. It is looked at again when something
    /// that it names changes, and seldom besides.
    WhenChanged,
}

/// A failure of one reconciliation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{call}: {source}")]
    Api {
        /// What was being asked of it.
        call: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time; the call may or may not have taken effect.
    #[error("{call}: no answer within {seconds} s")]
    Timeout {
        /// What was being asked of it.
        call: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The object store refused, could not be reached, or held something broken.
    #[error("{what}: {source}")]
    Store {
        /// What was being done.
        what: String,
        /// The store's own words.
        #[source]
        source: Box<varve_store::Error>,
    },
    /// A branch head moved while we were at work: decide again on the new one.
    #[error("branch {branch} of repo {repo} moved on while a commit to it was being written")]
    HeadMoved {
        /// The Repo's name.
        repo: String,
        /// The branch.
        branch: String,
    },
    /// A statement about the user's objects, in words meant for the user.
    #[error("{message}")]
    Told {
        /// The reason that the condition carries.
        reason: Reason,
        /// What is wrong, where, and what to do.
        message: String,
        /// Whether time alone can heal it.
        retry: Retry,
    },
    /// This replica no longer leads, so it may not write.
    #[error("this replica no longer leads")]
    NotLeading,
    /// A test made this call fail.
    #[error("fault injected {point} {call}")]
    Injected {
        /// `before` or `after`.
        point: &'static str,
        /// The call.
        call: String,
    },
    /// The pages for metrics and probes can't be served.
    #[error("serve /metrics on {address}: {source}: set --metrics-address to an address and port that are free")]
    Pages {
        /// `--metrics-address`.
        address: std::net::SocketAddr,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Something that the code believes impossible.
    #[error("{0}")]
    Bug(String),
}

/// What the engine refuses: words meant for the user already.
macro_rules! refused_by_engine {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::stalled(error.reason(), error.to_string())
            }
        })*
    };
}

refused_by_engine!(CommitError, InputError, PlanError, PodError);

impl Error {
    /// A failure that waits for somebody to change something.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::Told { reason, message: message.into(), retry: Retry::WhenChanged }
    }

    /// A failure that may pass by itself.
    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::Told { reason, message: message.into(), retry: Retry::Backoff }
    }

    /// Wraps a failure of the store with what was being done.
    pub fn store(what: impl fmt::Display) -> impl Fn(varve_store::Error) -> Self {
        move |source| Self::Store { what: what.to_string(), source: Box::new(source) }
    }

    /// Wraps a failure of the API server with what was being asked.
    pub fn api(call: impl fmt::Display) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { call: call.to_string(), source: Box::new(source) }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Told { retry, .. } => *retry,
            Self::Store { source, .. } if !source.is_retryable() => Retry::WhenChanged,
            _ => Retry::Backoff,
        }
    }

    /// The HTTP status code that the API server answered with, if it answered.
    pub fn api_code(&self) -> Option<u16> {
        let Self::Api { source, .. } = self else { return None };
        match source.as_ref() {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }

    /// What the API server says of an object whose fields can't be as they are. Policies and webhooks, which may change
    /// their minds, name no field.
    pub fn wrong_fields(&self) -> Option<&str> {
        let Self::Api { source, .. } = self else { return None };
        let kube::Error::Api(status) = source.as_ref() else { return None };
        let names_one = status.details.iter().flat_map(|details| &details.causes).any(|cause| !cause.field.is_empty());
        (status.code == 422 && names_one).then_some(status.message.as_str())
    }

    /// True where the API server says that the thing is not there.
    pub fn is_not_found(&self) -> bool {
        self.api_code() == Some(404)
    }

    /// True where nobody can tell whether the call took effect: a time-out, a broken connection, a
    /// gateway's answer.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Injected { point, .. } => *point == "after",
            Self::Api { .. } => self.api_code().is_none_or(|code| code >= 500),
            _ => false,
        }
    }
}
