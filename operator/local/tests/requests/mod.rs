//! One table of requests, and what a real API server answered to them.
//!
//! `table/` holds the requests, one file a scenario, `recorded/` the answers of the API server of `e2e/cluster`, which
//! `cargo xtask record` renews. [`table`] reads the one, [`recording`] the other; [`talk`] puts the requests to any
//! server, and [`plain`] takes out of its answers what no two servers have in common.
#![allow(dead_code, reason = "the test reads what the recorder writes")]

pub(crate) mod compare;
pub(crate) mod parts;
pub(crate) mod plain;
pub(crate) mod recording;
pub(crate) mod table;
pub(crate) mod talk;

use std::path::PathBuf;

/// A folder beside this file.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/requests").join(name)
}
