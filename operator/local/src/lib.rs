//! A small Kubernetes API in one process, and what runs pods beside it: the ground that `varve dev` and the controllers'
//! tests stand on.
//!
//! [`api`] is the API server, [`schema`] what it knows of kinds, [`fields`] who manages which field (server-side
//! apply), [`runner`] the job controller and the kubelet, [`dev`] the command.

pub mod api;
pub mod dev;
pub mod fields;
pub mod runner;
pub mod schema;
