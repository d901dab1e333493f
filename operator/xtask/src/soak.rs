//! `soak`: simulated lives of the controllers, as many as fit, or one again with all that happened in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{images, run};

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
    let mut command = Command::new(simulation(run::root())?);
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
    let status = simulation(checkout).and_then(|program| {
        let mut command = Command::new(program);
        command.args(["--first", "--seeds", BITES_WITHIN, "--traces"]).arg(run::root().join("out/soak").join(&name));
        command.status().context("start the simulation")
    });
    run::run("take the bug out", &mut git(&["checkout", "--quiet", "--", "."]))?;
    ensure!(status?.code() == Some(1), "{name} broke no law in {BITES_WITHIN} lives");
    Ok(())
}

/// What every run of the tests lives: three to four minutes on two cores.
const LIVES: &str = "1000";

/// As many lives as every run of the tests lives.
pub(crate) fn lives() -> Result<()> {
    let program = simulation(run::root())?;
    run::run("live", Command::new(program).args(["--seeds", LIVES]))
}

/// The program that lives lives, built of this checkout: optimised, since otherwise it takes ten times as long.
fn simulation(checkout: &Path) -> Result<PathBuf> {
    Ok(images::static_programs(checkout)?.join("varve-simulation"))
}
