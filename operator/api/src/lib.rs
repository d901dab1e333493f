//! The four kinds of `varve.dev/v1alpha1`, their conditions, names, labels and exit codes: what users see.
//!
//! Types here are plain data with serde and a schema. They hold no client and decide nothing; what is
//! computed here is only what both the operator and its users must compute alike (names, sizes, times).
//! `crds/` and `docs/reference/` are rendered from them by [`crd::files`] and
//! [`reference::files`].

#![allow(
    clippy::doc_markdown,
    reason = "these descriptions are read in `kubectl explain`, where the kinds of Kubernetes stand bare"
)]

pub mod commit;
pub mod conditions;
pub mod crd;
pub mod exit_codes;
pub mod job;
pub mod labels;
pub mod meta;
pub mod names;
pub mod pipeline;
pub mod pod;
pub mod reference;
pub mod repo;
mod schema;
pub mod show;
mod subset;

pub use commit::Commit;
pub use crd::crds;
pub use job::Job;
pub use pipeline::Pipeline;
pub use repo::Repo;

/// The API group of the four kinds.
pub const GROUP: &str = "varve.dev";
/// The version of the API.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as manifests write them.
pub const API_VERSION: &str = "varve.dev/v1alpha1";
