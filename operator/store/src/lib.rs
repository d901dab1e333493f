//! Packs, trees, diffs and commits over any object store; knows nothing of Kubernetes.
//!
//! Everything is immutable and lies under one prefix: a [`Store`]. Reading goes through it; writing through a
//! [`Session`], whose packs go up in the background and are durable when its `flush` returns. Ids say what a thing is and
//! decide equality; a `Location` beside an id says where it lies. Nothing here moves a branch's head: that is the caller's,
//! whose conditional write decides which commit counts.
//!
//! Memory is bounded by what is in flight and by three caches, never by the size of the data.

pub mod backend;
mod caches;
mod checkout;
mod commit;
mod content;
mod environment;
mod error;
mod jobs;
mod map;
mod memo;
mod objects;
mod owner;
mod pack;
mod reflog;
mod repos;
mod session;
mod sessions;
mod store;
mod tree;
mod types;
mod verify;

pub use caches::Caches;
pub use commit::{Commit, CommitRef};
pub use content::small::{SHARED_CONTENT_BYTES, SmallContents};
pub use environment::{CountingEnvironment, Environment, SystemEnvironment};
pub use error::{Error, Result, TreeFault};
pub use jobs::ResultKey;
pub use owner::{Adopt, NotAdopt, Owner};
pub use reflog::{REFLOG_PAGE, Reflog};
pub use repos::{NameRecord, RepoRecord};
pub use session::Session;
pub use sessions::ClientSession;
pub use store::{Options, Store};
pub use types::{Change, ContentRef, Depth, Entry, NodeRef, TreeEdit, Value};
pub use varve_format::{Head, Location, RecordAt};
