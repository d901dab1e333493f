//! `e2e [--full]`: the crate `varve-e2e` on the user's cluster, which stays up.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::cluster::{Access, Cluster};
use crate::images::{self, Images};
use crate::{apply, example, run};

/// Programs of the crate, run in one go.
pub(crate) struct Suite {
    programs: &'static [&'static str],
    /// Tests at a time. They wait for pods more than they compute.
    threads: &'static str,
}

/// What `cargo xtask test` runs too: the API's rules, and the main path.
pub(crate) const SHORT: Suite = Suite { programs: &["api_rules", "api_views", "main_path"], threads: "4" };
/// What takes longer: it waits for time-outs and for things to heal, brings about what is explained, and runs the example's
/// real images.
const LONG: Suite =
    Suite { programs: &["bad_input", "catalogue", "deletion", "openshift", "photographs", "tenancy"], threads: "4" };
/// What kills the operator that the others stand on: alone, one by one.
const FAULTS: Suite = Suite { programs: &["faults"], threads: "1" };
/// What needs a cluster of its own, made twice.
const LIVES: Suite = Suite { programs: &["two_lives"], threads: "1" };

pub(crate) fn e2e(full: bool, filter: Option<&str>) -> Result<()> {
    let access = Cluster::of_the_user().up()?;
    let images = images::build_and_push(&access)?;
    apply::varve(&access, &images)?;
    let photographs = example::photographs_folder()?;
    let suites: &[Suite] = if full { &[SHORT, LONG, FAULTS] } else { &[SHORT] };
    let mut failed = Vec::new();
    for suite in suites {
        let mut command = command(&access, &images, suite, filter);
        if let Err(error) = run::run("test on the real cluster", command.env("VARVE_PHOTOGRAPHS", &photographs)) {
            failed.push(format!("{error:#}"));
        }
    }
    if full
        && filter.is_none_or(|filter| "two_lives".contains(filter))
        && let Err(error) = two_lives()
    {
        failed.push(format!("{error:#}"));
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
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
pub(crate) fn command(access: &Access, images: &Images, suite: &Suite, filter: Option<&str>) -> Command {
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
