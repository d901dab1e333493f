//! `e2e`: the crate `varve-e2e` on the user's cluster, which stays up, and on clusters of its own.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cluster::{Access, Cluster};
use crate::images::{self, Images};
use crate::{apply, example, run};

/// What to run.
#[derive(Args)]
pub(crate) struct E2e {
    /// Also the slow ones: bad input that heals, killed processes and nodes, a store that changes its owner.
    #[arg(long)]
    full: bool,
    /// Only this program of `e2e/tests`, fast or slow; may be given more than once.
    #[arg(long = "program", value_name = "NAME", value_parser = programs())]
    programs: Vec<String>,
    /// Only tests whose name contains this; none that needs a cluster of its own.
    filter: Option<String>,
}

/// Programs of the crate, run in one go.
pub(crate) struct Suite<'a> {
    programs: &'a [&'static str],
    /// Tests at a time. They wait for pods more than they compute.
    threads: &'static str,
}

/// What `cargo xtask test` runs too: the API's rules, and the main path.
pub(crate) const SHORT: Suite<'_> = Suite { programs: &["api_rules", "api_views", "main_path"], threads: "4" };
/// What takes longer: it waits for time-outs and for things to heal, brings about what is explained, and runs the example's
/// real images.
const LONG: Suite<'_> =
    Suite { programs: &["bad_input", "catalogue", "deletion", "photographs", "tenancy", "users"], threads: "4" };
/// What kills the operator that the others stand on: alone, one by one.
const FAULTS: Suite<'_> = Suite { programs: &["faults"], threads: "1" };
/// What judges the operator by all that it did for the others: the last.
const RIGHTS: Suite<'_> = Suite { programs: &["rights"], threads: "1" };
/// What kills a node, on a cluster of its own that has three.
const STORM: Suite<'_> = Suite { programs: &["storm"], threads: "1" };
/// What needs a cluster of its own, made twice.
const LIVES: Suite<'_> = Suite { programs: &["two_lives"], threads: "1" };

/// On the user's cluster, in this order.
const SUITES: [Suite<'_>; 4] = [SHORT, LONG, FAULTS, RIGHTS];
/// On clusters of their own.
const APART: [Suite<'_>; 2] = [STORM, LIVES];

/// Those that a filter leaves out.
const WHOLE: [&str; 3] = ["rights", "storm", "two_lives"];

/// The names of all programs.
fn programs() -> Vec<&'static str> {
    let suites = SUITES.iter().chain(&APART);
    suites.flat_map(|suite| suite.programs).copied().collect()
}

impl E2e {
    /// What of a suite is to be run.
    fn of(&self, suite: &Suite<'_>) -> Vec<&'static str> {
        let is_wanted = |program: &&str| match (self.programs.as_slice(), &self.filter) {
            ([], None) => self.full || SHORT.programs.contains(program),
            // Neither a cluster of its own for one test, nor a judgement by what a few of them did.
            ([], Some(_)) => SHORT.programs.contains(program) || self.full && !WHOLE.contains(program),
            (named, _) => named.iter().any(|named| named == program),
        };
        suite.programs.iter().copied().filter(is_wanted).collect()
    }
}

pub(crate) fn e2e(e2e: &E2e) -> Result<()> {
    let filter = e2e.filter.as_deref();
    let mut failed = Vec::new();
    if SUITES.iter().any(|suite| !e2e.of(suite).is_empty()) {
        let access = Cluster::of_the_user().up()?;
        let images = images::build_and_push(&access)?;
        apply::varve(&access, &images)?;
        let photographs = example::photographs_folder()?;
        let since = run::output("tell the time", &mut run::command("date", ["-u", "+%Y-%m-%dT%H:%M:%SZ"]))?;
        for suite in SUITES {
            let programs = e2e.of(&suite);
            if programs.is_empty() {
                continue;
            }
            let mut command = command(&access, &images, &Suite { programs: &programs, ..suite }, filter);
            command.env("VARVE_PHOTOGRAPHS", &photographs).env("VARVE_E2E_SINCE", since.trim());
            let outcome = run::run("test on the real cluster", &mut command);
            failed.extend(outcome.err());
        }
    }
    if !e2e.of(&STORM).is_empty() {
        failed.extend(storm().err());
    }
    if !e2e.of(&LIVES).is_empty() {
        failed.extend(two_lives().err());
    }
    let failed: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// Three nodes, whose loss is noticed within seconds.
fn storm() -> Result<()> {
    let cluster = Cluster::of_three_nodes();
    cluster.down()?;
    let outcome = cluster.up().and_then(|access| {
        let images = images::build_and_push(&access)?;
        apply::varve(&access, &images)?;
        let mut command = command(&access, &images, &STORM, None);
        run::run("storm", command.arg("--nocapture"))
    });
    cluster.down().and(outcome)
}

/// One cluster, and then another over the same bucket.
fn two_lives() -> Result<()> {
    let folder = tempfile::tempdir_in(run::cache())?;
    let cluster = Cluster::with_buckets(&folder.path().join("buckets"));
    let outcome = ["first_life", "second_life"].iter().try_for_each(|life| {
        cluster.down()?;
        let access = cluster.up()?;
        let images = images::build_and_push(&access)?;
        apply::varve(&access, &images)?;
        let mut command = command(&access, &images, &LIVES, Some(life));
        run::run(life, command.env("VARVE_MEMORY", folder.path().join("memory.json")))
    });
    cluster.down().and(outcome)
}

/// `cargo test` on some of the crate's programs, told how to reach the cluster.
pub(crate) fn command(access: &Access, images: &Images, suite: &Suite<'_>, filter: Option<&str>) -> Command {
    // With `--workspace`, as everywhere: see `test::conformance`. So the crate's tests are named one by one.
    let mut command = run::cargo(["test", "--workspace", "--features", "varve-e2e/cluster", "--no-fail-fast"]);
    for program in suite.programs {
        command.args(["--test", program]);
    }
    command.args(["--", "--test-threads", suite.threads]).args(filter);
    command.envs(&access.environment).envs(images.environment());
    command.env("VARVE_E2E", "1").env("VARVE_CLUSTER_SH", run::root().join("e2e/cluster/cluster.sh"));
    command
}
