//! `varve dev` is killed, and nothing that it started is left.

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{World, program};
use varve_local::runner::View;

/// Longest that anything awaited may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_asleep(seconds: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let wanted = format!("sleep\0{seconds}\0");
    processes.filter_map(|path| fs::read_to_string(path).ok()).any(|line| line == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_varve_dev_had_started_ends_with_it() {
    if World::new().await.view == View::Outside {
        return; // without namespaces only what a shim runs ends so: it hears that its keeper is gone
    }
    let root = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; setsid sleep 6789 & while :; do sleep 6790; done";
    let mut dev = Command::new(program());
    let mut dev = dev.arg("dev").arg(root.path().join("dev")).arg(script).spawn().unwrap();
    until("the pod runs", || is_asleep("6789") && is_asleep("6790"));
    dev.kill().unwrap();
    dev.wait().unwrap();
    until("its processes are gone", || !is_asleep("6789") && !is_asleep("6790"));
}
