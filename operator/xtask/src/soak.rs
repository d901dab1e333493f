//! `soak`: simulated lives of the controllers, as many as fit, or one again with all that happened in it.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// What to live.
#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// As many lives as fit into this time.
    #[arg(long)]
    minutes: Option<u64>,
    /// This many lives.
    #[arg(long, default_value_t = 1000, conflicts_with = "minutes")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The life of this seed alone, with all that happens; RUST_LOG=debug adds what the controllers say.
    #[arg(long, conflicts_with_all = ["from", "seeds", "minutes"])]
    replay: Option<u64>,
}

/// `cargo xtask soak`.
pub(crate) fn soak(soak: &Soak) -> Result<()> {
    let mut command = simulation();
    match (soak.replay, soak.minutes) {
        (Some(seed), _) => command.arg("--replay").arg(seed.to_string()),
        (None, Some(minutes)) => command.args(["--from", &soak.from.to_string(), "--minutes", &minutes.to_string()]),
        (None, None) => command.args(["--from", &soak.from.to_string(), "--seeds", &soak.seeds.to_string()]),
    };
    run::run("live", &mut command)
}

/// Lives the first thousand seeds, as CI does.
pub(crate) fn a_thousand() -> Result<()> {
    run::run("live a thousand lives", simulation().args(["--seeds", "1000"]))
}

/// The program that lives lives, optimised: unoptimised it takes ten times as long.
fn simulation() -> Command {
    run::cargo(["run", "--quiet", "--profile", "image", "--package", "varve-simulation", "--"])
}
