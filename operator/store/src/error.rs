//! What can go wrong with a store, by cause: each error knows its reason (a bounded set of words that conditions,
//! events and logs use) and whether trying again can help.

use std::io::ErrorKind;
use std::sync::Arc;

use uuid::Uuid;
use varve_format::{DecodeError, Hash, MapError, NameError};

use crate::backend::guard::find_refusal;
use crate::owner::Adopt;

/// Everything that this crate refuses or fails at.
///
/// Cheap to clone: a failed upload is told to every writer of its session, a failed load to everybody who waited.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's configuration (its Secret) cannot be right.
    #[error("the store's configuration is wrong: {what}")]
    Config {
        /// Which key, what it must be.
        what: String,
    },
    /// The bucket or container does not exist.
    #[error("the bucket does not exist: {what}")]
    BucketNotFound {
        /// The store's own words.
        what: String,
    },
    /// The credentials are wrong, or do not allow what was tried.
    #[error("{doing}: the store refused the credentials: {what}")]
    AccessDenied {
        /// What was being done.
        doing: String,
        /// The store's own words.
        what: String,
    },
    /// No connection, no name, no answer in time.
    #[error("{doing}: the store cannot be reached: {what}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// The cause in the client's words.
        what: String,
    },
    /// The store wants fewer requests, and went on saying so until retries ran out.
    #[error("{doing}: the store asks for fewer requests: {what}")]
    Throttled {
        /// What was being done.
        doing: String,
        /// The store's own words.
        what: String,
    },
    /// The store has no room left, or its owner's share of it is used up.
    #[error("{doing}: the store is full: {what}")]
    Full {
        /// What was being done.
        doing: String,
        /// The store's own words.
        what: String,
    },
    /// The store refuses what is signed because our clock and its own differ too much.
    #[error("{doing}: the store's clock and this machine's differ too much: {what}")]
    ClockSkewed {
        /// What was being done.
        doing: String,
        /// The store's own words.
        what: String,
    },
    /// The store answered with an error of its own until retries ran out.
    #[error("{doing}: {source}")]
    Backend {
        /// What was being done.
        doing: String,
        /// What the store answered.
        source: Arc<object_store::Error>,
    },
    /// An object that must be there is not.
    #[error("object {key} is missing")]
    ObjectMissing {
        /// Its key, without the store's prefix.
        key: String,
    },
    /// Bytes that are not what was written. Never served.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// The object, and where in it.
        what: String,
        /// What does not match.
        why: String,
    },
    /// A node that is not what its id or its parent says.
    #[error("{what} is corrupt: {fault}")]
    Node {
        /// Which node.
        what: String,
        /// What is wrong with it.
        fault: TreeFault,
    },
    /// Bytes written by a later version, or not by Varve.
    #[error("read {what}: {source}")]
    Decode {
        /// The object, and where in it.
        what: String,
        /// What is wrong with them.
        source: DecodeError,
    },
    /// The content was erased; its id, and proofs over it, stand.
    #[error("content {id} was erased")]
    Erased {
        /// The id of the content.
        id: Hash,
    },
    /// Content kept outside the store, which this version does not fetch.
    #[error("content {id} lies outside the store, which this version cannot read")]
    Outside {
        /// The id of the content.
        id: Hash,
    },
    /// A name or path that may not be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A map that cannot be built.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A path that would be too long below the commit's root.
    #[error("below `{path}` the longest path would have {length} bytes, and may have at most {max}")]
    PathTooLong {
        /// Where the directory was to be put.
        path: String,
        /// Length of the longest path below, from the commit's root.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A content with more bytes than an index can describe.
    #[error(
        "a file may have at most about 390 GiB, and this one has more: its index passes {max} bytes at {size} bytes"
    )]
    ContentTooLarge {
        /// Bytes of the content up to where it was noticed.
        size: u64,
        /// Most bytes of an index.
        max: u64,
    },
    /// An edit that makes no sense: a file as the root.
    #[error("`{path}`: {why}")]
    Edit {
        /// The path edited.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A tree uploaded by a client tells a lie.
    #[error("the uploaded tree is refused at `{path}`: {fault}")]
    TreeRefused {
        /// Where in the tree.
        path: String,
        /// What is wrong.
        fault: TreeFault,
    },
    /// The local disk failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// The system's words.
        source: Arc<std::io::Error>,
    },
    /// The prefix belongs to another cluster or namespace.
    #[error(
        "the store {} is owned by another cluster or namespace; if it no longer writes there, set `adopt: {adopt}` \
         in the store's Secret", adopt.store
    )]
    OwnedElsewhere {
        /// The word that would take it over.
        adopt: Adopt,
    },
    /// A later version wrote here what this one cannot read or may not write.
    #[error("the store needs the feature `{feature}`, which this version does not know: upgrade Varve")]
    FeatureUnknown {
        /// The feature's name.
        feature: String,
    },
    /// A commit's sealed bytes do not hash to the seal that names them.
    #[error("commit {uid} is corrupt: its seal does not match")]
    SealMismatch {
        /// The commit.
        uid: Uuid,
    },
    /// A create-only object stands with other bytes.
    #[error("object {key} was written before, with other content")]
    Conflict {
        /// Its key.
        key: String,
    },
    /// More bytes than the caller's cap.
    #[error("{what} has {size} bytes, more than the {max} allowed here")]
    TooLarge {
        /// What was to be read.
        what: String,
        /// Its size.
        size: u64,
        /// The cap.
        max: u64,
    },
    /// The session's writer has ended: an earlier error, or a flush after its end.
    #[error("the session has ended")]
    SessionEnded,
}

/// A lie that an uploaded tree can tell: each is found before anything is adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// Order, names, kinds or counts within a node.
    #[error("{0}")]
    Rows(#[from] MapError),
    /// A node that cannot be read as one.
    #[error("the node cannot be read: {0}")]
    Unreadable(String),
    /// Bytes that do not hash to their id.
    #[error("what is stored does not have the id {0}")]
    Id(Hash),
    /// The files or bytes in the parent's row are not those of the child.
    #[error("the parent's row counts other files or bytes than the node it names")]
    Totals,
    /// The child is not of the level below its parent, or the root is not of the level it must be.
    #[error("the node is of level {found}, not {expected}")]
    Level {
        /// The level stored.
        found: u8,
        /// The level that must be.
        expected: u8,
    },
    /// The parent's key is not the child's last.
    #[error("the parent's key is not the last key of its child")]
    LastKey,
    /// Keys overlap between neighbouring nodes.
    #[error("the keys of neighbouring nodes overlap")]
    Overlap,
    /// The node is not cut where the format cuts.
    #[error("the node's boundaries are not where the format puts them")]
    Boundary,
    /// A root with one child.
    #[error("the root has a single child")]
    LoneChild,
    /// A name both as a file and as a directory.
    #[error("the name is both a file and a directory")]
    FileAndDirectory,
    /// A path over the limit.
    #[error("the path has {length} bytes, and may have at most {max}")]
    PathTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The content cannot be read, or is other than the id says.
    #[error("its content cannot be read back: {0}")]
    Content(String),
    /// A symlink's target that may not be.
    #[error("the symlink's target must be 1 to 4095 bytes of UTF-8 without NUL")]
    Target,
}

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The cause as one `CamelCase` word of a bounded set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Config { .. } => "StoreConfigInvalid",
            Self::BucketNotFound { .. } => "StoreBucketMissing",
            Self::AccessDenied { .. } => "StoreUnauthorized",
            Self::Unreachable { .. } => "StoreUnreachable",
            Self::Throttled { .. } => "StoreThrottled",
            Self::Full { .. } => "StoreFull",
            Self::ClockSkewed { .. } => "StoreClockSkewed",
            Self::Backend { .. } => "StoreError",
            Self::ObjectMissing { .. } => "ObjectMissing",
            Self::Corrupt { .. } | Self::Node { .. } | Self::Decode { .. } | Self::SealMismatch { .. } => {
                "StoreCorrupt"
            }
            Self::Erased { .. } => "ContentErased",
            Self::Outside { .. } => "ContentOutside",
            Self::Name(_) | Self::PathTooLong { .. } => "InvalidPath",
            Self::Map(error) => error.reason(),
            Self::Edit { .. } => "InvalidEdit",
            Self::TreeRefused { .. } => "TreeInvalid",
            Self::Io { .. } => "LocalDisk",
            Self::OwnedElsewhere { .. } => "StoreOwnedElsewhere",
            Self::FeatureUnknown { .. } => "StoreFeatureUnknown",
            Self::Conflict { .. } => "ObjectConflict",
            Self::TooLarge { .. } | Self::ContentTooLarge { .. } => "TooLarge",
            Self::SessionEnded => "SessionEnded",
        }
    }

    /// Whether the same call may succeed later without anybody changing data or configuration of ours: a full store
    /// gets room, and a clock is set right, where nobody tells us.
    pub fn is_retryable(&self) -> bool {
        self.is_the_stores_for_now() || matches!(self, Self::Io { .. } | Self::SessionEnded)
    }

    /// Whether the store itself (its address, bucket or credentials) is at fault, rather than what was asked.
    pub fn is_about_the_store(&self) -> bool {
        self.is_the_stores_for_now()
            || matches!(
                self,
                Self::Config { .. }
                    | Self::BucketNotFound { .. }
                    | Self::AccessDenied { .. }
                    | Self::OwnedElsewhere { .. }
                    | Self::FeatureUnknown { .. }
            )
    }

    /// What the store answers, or its silence, that may be otherwise the next time.
    fn is_the_stores_for_now(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Throttled { .. }
                | Self::Full { .. }
                | Self::ClockSkewed { .. }
                | Self::Backend { .. }
        )
    }

    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }

    pub(crate) fn decode(what: impl Into<String>) -> impl FnOnce(DecodeError) -> Self {
        let what = what.into();
        move |source| Self::Decode { what, source }
    }

    /// The same of a write. Nothing that is written can be missing: a 404 is the answer of a server that has lost an
    /// upload, and may be another one next time.
    pub(crate) fn write(doing: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } if !is_missing_bucket(&source, &innermost(&source)) => {
                Self::Backend { doing: doing.to_owned(), source: Arc::new(source) }
            }
            source => Self::backend(doing, source),
        }
    }

    /// Sorts an error of the client by what the user can do about it.
    pub(crate) fn backend(doing: &str, source: object_store::Error) -> Self {
        if let Some(refused) = find_refusal(&source) {
            return Self::Config { what: format!("{doing}: {refused}") };
        }
        let what = innermost(&source);
        if is_missing_bucket(&source, &what) {
            return Self::BucketNotFound { what };
        }
        let doing = doing.to_owned();
        // By the store's words before the kind of error: of these, some come with a status that says something else.
        if is_full(&source, &what) {
            return Self::Full { doing, what: answer(&what) };
        }
        if is_throttling(&what) {
            return Self::Throttled { doing, what: answer(&what) };
        }
        if has_code(&what, CLOCK_CODES) || what.contains("Request date header too old") {
            return Self::ClockSkewed { doing, what: answer(&what) };
        }
        if has_code(&what, TOKEN_CODES) {
            return Self::AccessDenied { doing, what };
        }
        match &source {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::AccessDenied { doing, what }
            }
            object_store::Error::NotFound { path, .. } => Self::ObjectMissing { key: path.clone() },
            _ if is_connection(&source) => Self::Unreachable { doing, what },
            _ => Self::Backend { doing, source: Arc::new(source) },
        }
    }
}

/// The three clouds' words for a bucket that is not there; the client's error type does not tell it from an object.
fn is_missing_bucket(error: &object_store::Error, what: &str) -> bool {
    matches!(error, object_store::Error::NotFound { .. } | object_store::Error::Generic { .. })
        && ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]
            .iter()
            .any(|words| what.contains(words))
}

/// For a store that is full, or a user's share of it: two of `MinIO`, and Ceph's, with status 403.
const FULL_CODES: &[&str] = &["XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"];
/// For too many requests: S3's and Google's, and last Azure's.
const THROTTLE_CODES: &[&str] =
    &["SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException", "ServerBusy"];
/// For a signature of another time than the store's.
const CLOCK_CODES: &[&str] = &["RequestTimeTooSkewed"];
/// For a session token that is over, which S3 says with status 400.
const TOKEN_CODES: &[&str] = &["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// Whether the store's answer has one of these as its code. As an element, since the words around it hold keys and
/// addresses of the user's choice.
fn has_code(what: &str, codes: &[&str]) -> bool {
    codes.iter().any(|code| what.contains(&format!("<Code>{code}</Code>")))
}

fn has_status(what: &str, status: u16) -> bool {
    what.contains(&format!("status code: {status} "))
}

fn is_throttling(what: &str) -> bool {
    has_status(what, 429) || has_code(what, THROTTLE_CODES)
}

fn is_full(error: &object_store::Error, what: &str) -> bool {
    let mut causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    let is_disk = causes.any(|error| {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind.is_some_and(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    });
    // A server over a folder hands on what its own disk says.
    is_disk || has_status(what, 507) || has_code(what, FULL_CODES) || what.contains("no space left on device")
}

/// Whether an object has no byte of the range that was asked for: 416, or the words of the client's own stores.
pub(crate) fn is_beyond_the_end(error: &object_store::Error) -> bool {
    let what = innermost(error);
    has_status(&what, 416) || what.contains("Wanted range starting at")
}

/// What the server said, without what we had asked it and how often.
fn answer(what: &str) -> String {
    what.rsplit_once("status code: ").map_or(what, |(_, said)| said).to_owned()
}

fn is_connection(error: &object_store::Error) -> bool {
    use object_store::client::{HttpError, HttpErrorKind};
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return !matches!(http.kind(), HttpErrorKind::Decode);
        }
        next = error.source();
    }
    false
}

/// The last words of a chain of causes, which are the store's or the system's own, after those of the first.
fn innermost(error: &object_store::Error) -> String {
    let mut last: &(dyn std::error::Error + 'static) = error;
    let mut words = vec![error.to_string()];
    while let Some(source) = last.source() {
        last = source;
        let text = last.to_string();
        // Most causes repeat in full what they wrap.
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}
