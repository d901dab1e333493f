//! `e2e [--full]`: the crate `varve-e2e` on the user's cluster, which stays up.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::{Access, Cluster};
use crate::images::{self, Images};
use crate::{apply, run};

/// Tests at a time. They wait for pods more than they compute.
const THREADS: &str = "--test-threads=4";

pub(crate) fn e2e(full: bool, filter: Option<&str>) -> Result<()> {
    let access = Cluster::of_the_user().up()?;
    let images = images::build_and_push(&access)?;
    apply::varve(&access, &images)?;
    run::run("test on the real cluster", &mut command(&access, &images, full, filter)?)
}

/// `cargo test` on the crate, told how to reach the cluster.
pub(crate) fn command(access: &Access, images: &Images, full: bool, filter: Option<&str>) -> Result<Command> {
    // With `--workspace`, as everywhere: see `test::conformance`. So the crate's tests are named one by one.
    let mut command = run::cargo(["test", "--workspace", "--features", "varve-e2e/cluster", "--no-fail-fast"]);
    for file in fs::read_dir(run::root().join("e2e/tests")).context("read folder e2e/tests")? {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            command.arg("--test").args(path.file_stem());
        }
    }
    command.args(["--", THREADS]).args(filter);
    command.envs(&access.environment).envs(images.environment());
    command.env("VARVE_E2E", "1").env("VARVE_CLUSTER_SH", run::root().join("e2e/cluster/cluster.sh"));
    if full {
        command.env("VARVE_E2E_FULL", "1");
    }
    Ok(command)
}
