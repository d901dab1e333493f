//! `soak`: simulated lives of the controllers, as many as fit, or one again with all that happened in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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
    /// Puts each of the deliberate bugs of operator/simulation/bugs into the last commit, one at a time, and lives until
    /// a law is broken: shows that the laws bite.
    #[arg(long, conflicts_with_all = ["from", "seeds", "minutes", "replay"])]
    bugs: bool,
    /// The life of this seed alone, with all that happens; `RUST_LOG=debug` adds what the controllers say.
    #[arg(long, conflicts_with_all = ["from", "seeds", "minutes"])]
    replay: Option<u64>,
}

/// `cargo xtask soak`.
pub(crate) fn soak(soak: &Soak) -> Result<()> {
    if soak.bugs {
        return bugs();
    }
    let mut command = simulation();
    match (soak.replay, soak.minutes) {
        (Some(seed), _) => command.arg("--replay").arg(seed.to_string()),
        (None, Some(minutes)) => command.args(["--from", &soak.from.to_string(), "--minutes", &minutes.to_string()]),
        (None, None) => command.args(["--from", &soak.from.to_string(), "--seeds", &soak.seeds.to_string()]),
    };
    run::run("live", &mut command)
}

/// Seeds within which a deliberate bug must break a law.
const BITES_WITHIN: &str = "2000";

/// Each deliberate bug, in a checkout of its own beside what is built.
fn bugs() -> Result<()> {
    let bugs = run::root().join("operator/simulation/bugs");
    let mut patches: Vec<PathBuf> = fs::read_dir(&bugs)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    patches.sort();
    ensure!(!patches.is_empty(), "no bugs lie in {}", bugs.display());
    let folder = tempfile::tempdir_in(run::root().join("target"))?;
    let checkout = folder.path().join("checkout");
    run::run("check out", run::command("git", ["worktree", "add", "--quiet", "--detach"]).arg(&checkout))?;
    let outcome = patches.iter().try_for_each(|patch| bug(&checkout, patch));
    run::run("clear away", run::command("git", ["worktree", "remove", "--force"]).arg(&checkout)).and(outcome)
}

fn bug(checkout: &Path, patch: &Path) -> Result<()> {
    let name = patch.file_stem().unwrap_or_default().display().to_string();
    let git = |arguments: &[&str]| {
        let mut command = run::command("git", arguments);
        command.current_dir(checkout);
        command
    };
    run::run("put the bug in", git(&["apply"]).arg(patch))?;
    println!("{name}:");
    let mut simulation = simulation();
    simulation.current_dir(checkout).env("CARGO_TARGET_DIR", run::root().join("target"));
    simulation.args(["--first", "--seeds", BITES_WITHIN, "--traces"]).arg(run::root().join("out/soak").join(&name));
    let status = simulation.status().context("start the simulation")?;
    run::run("take the bug out", &mut git(&["checkout", "--quiet", "--", "."]))?;
    ensure!(status.code() == Some(1), "{name} broke no law in {BITES_WITHIN} lives, or does not build");
    Ok(())
}

/// The program that lives lives, optimised: unoptimised it takes ten times as long.
fn simulation() -> Command {
    run::cargo(["run", "--quiet", "--profile", "image", "--package", "varve-simulation", "--"])
}
