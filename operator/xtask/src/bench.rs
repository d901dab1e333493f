//! Benchmarks.

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum What {
    /// From a Commit to its Job's pods, and from the last datum to the output Commit.
    Latency,
}

pub(crate) fn bench(_what: &What) -> Result<()> {
    Ok(())
}
