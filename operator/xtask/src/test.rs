//! `test`: everything that CI runs, one step after the other, and the sum at the end.
//!
//! A step that fails does not keep the later ones from telling what they know, except that nothing runs on a
//! cluster that is not there. The cluster is the tests' own and is taken down in any case.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::azurite::{self, Azurite};
use crate::cluster::{Access, Cluster};
use crate::{apply, bucket, e2e, generate, images, packages, run, soak};

/// What the test programs counted themselves, and steps that failed without a count.
#[derive(Default, Clone, Copy)]
pub(crate) struct Count {
    passed: u64,
    failed: u64,
}

pub(crate) fn test() -> ExitCode {
    let mut count = Count::default();
    let mut failures = Vec::new();
    let mut step = |what: &str, work: &mut dyn FnMut(&mut Count) -> Result<()>| {
        let before = count.failed;
        if let Err(error) = run::step(what, || work(&mut count)) {
            eprintln!("error: {error:#}");
            failures.push(what.to_owned());
            if count.failed == before {
                count.failed += 1;
            }
            return false;
        }
        true
    };

    step("packages", &mut |_| packages::for_the_cluster().and_then(|()| packages::for_the_tests()));
    step("cargo fmt", &mut |_| run::run("check the format", &mut run::cargo(["fmt", "--all", "--check"])));
    step("cargo clippy", &mut |_| {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "varve-e2e/cluster",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        run::run("lint", &mut run::cargo(arguments))
    });
    step("generated files", &mut |_| generate::generate(true));
    step("cargo test", &mut |count| counted(&mut run::cargo(["test", "--workspace", "--no-fail-fast"]), count));

    step("the store's conformance, on Azure", &mut |count| {
        let azurite = Azurite::start()?;
        conformance(azurite::URL, &azurite.settings(), count)
    });

    step("a thousand lives", &mut |count| {
        soak::lives()?;
        count.passed += 1;
        Ok(())
    });

    let cluster = Cluster::for_tests();
    let mut access = None;
    if step("cluster up", &mut |_| {
        cluster.down()?;
        access = Some(cluster.up()?);
        Ok(())
    }) {
        let access = access.expect("set just now");
        step("the store's conformance, on S3", &mut |count| {
            let url = format!("s3://varve/conformance-{}", std::process::id());
            conformance(&url, &bucket::settings(&access), count)
        });
        step("kubectl beside varve dev", &mut |count| kubectl(&access, count));
        step("the real cluster", &mut |count| on_the_cluster(&access, count));
    }
    if !failures.is_empty() {
        keep_logs(&cluster);
    }
    let cluster_is_gone =
        run::step("cluster down", || cluster.down()).map_err(|error| eprintln!("error: {error:#}")).is_ok();

    if !failures.is_empty() {
        println!("failed: {}", failures.join(", "));
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if failures.is_empty() && cluster_is_gone { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What every backend must pass, on a bucket. With `--workspace`, so that cargo uses what it built already: for one
/// package alone it would build the dependencies again with other features.
fn conformance(url: &str, settings: &BTreeMap<String, String>, count: &mut Count) -> Result<()> {
    let mut command = run::cargo(["test", "--workspace", "--test", "conformance", "--test", "backends"]);
    command.args(["--", "--include-ignored", "bucket"]); // the others have run
    command.env("VARVE_TEST_STORE_URL", url);
    for (key, value) in settings {
        command.env(format!("VARVE_TEST_STORE_{}", key.to_uppercase()), value);
    }
    counted(&mut command, count)
}

/// What people do with kubectl, beside `varve dev`: with the newest, which is the cluster's, and the oldest that can be
/// had, which is Debian's.
fn kubectl(access: &Access, count: &mut Count) -> Result<()> {
    let newest = PathBuf::from(access.get("VARVE_KUBECTL")?);
    let oldest = packages::unpacked("kubernetes-client", "usr/bin/kubectl")?;
    let mut command = run::cargo(["test", "--workspace", "--test", "kubectl"]);
    command.args(["--", "--ignored", "--nocapture"]);
    command.env("VARVE_TEST_KUBECTLS", std::env::join_paths(oldest.into_iter().chain([newest]))?);
    counted(&mut command, count)
}

fn on_the_cluster(access: &Access, count: &mut Count) -> Result<()> {
    let images = images::build_and_push(access)?;
    apply::varve(access, &images)?;
    counted(&mut e2e::command(access, &images, &e2e::SHORT, None), count)
}

/// Runs `cargo test` with its output shown, and adds up what its programs counted.
pub(crate) fn counted(command: &mut Command, count: &mut Count) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let before = *count;
    for line in BufReader::new(child.stdout.take().context("read what cargo test prints")?).lines() {
        let line = line.context("read what cargo test prints")?;
        println!("{line}");
        if let Some((passed, failed)) = result_line(&line) {
            count.passed += passed;
            count.failed += failed;
        }
    }
    let status = child.wait().context("wait for cargo test")?;
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    if count.passed == before.passed {
        bail!("no test was run");
    }
    Ok(())
}

/// Reads `test result: ok. 3 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ").map(|part| part.split_once(' '));
    let (passed, "passed") = counts.next()?? else { return None };
    let (failed, "failed") = counts.next()?? else { return None };
    Some((passed.parse().ok()?, failed.parse().ok()?))
}

/// Copies the cluster's logs to where they outlive it.
fn keep_logs(cluster: &Cluster) {
    let kept = run::root().join("out/test-logs");
    let script = "rm -rf \"$2\" && mkdir -p \"$2\" && cp -r \"$1\"/. \"$2\"";
    let mut copy = run::command("sh", ["-c", script, "sh"]);
    if run::output("keep the logs", copy.arg(cluster.logs()).arg(&kept)).is_ok() {
        println!("the cluster's logs: out/test-logs");
    }
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn the_counts_of_a_test_program_are_read() {
        let line = "test result: FAILED. 31 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s";
        assert_eq!(result_line(line), Some((31, 2)));
        assert_eq!(result_line("test store::tests::result ... ok"), None);
    }
}
