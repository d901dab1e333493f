//! `varve dev` as its users run it: the built program, on files in a folder of a test's own.
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::{Pid, Signal};

/// Longest that anything awaited may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at what is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What every process below one `varve dev` of ours has in its environment: the project's folder.
const MARK: &str = "PROJECT_OF_A_TEST";

/// A Repo and a Pipeline over its folder that copies.
pub(crate) const COPY: &str = "
apiVersion: varve.dev/v1alpha1
kind: Repo
metadata: {name: texts, annotations: {varve.dev/folder: texts}}
---
apiVersion: varve.dev/v1alpha1
kind: Pipeline
metadata: {name: copied}
spec:
  inputs: [{name: texts, glob: /*}]
  container: {image: none, command: [sh, -c, 'cp \"$texts\" \"${PFS:-/pfs}/out\"']}
";

/// What a `varve dev` that has ended did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it said of what went wrong, once it is sure that it says so by its exit status too.
    #[track_caller]
    pub(crate) fn badly(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        &self.err
    }

    /// What it printed, once it is sure that all went well.
    #[track_caller]
    pub(crate) fn well(&self) -> &str {
        assert!(self.status.success(), "{self:#?}");
        &self.out
    }
}

/// Files to apply, and beside them the state.
pub(crate) struct Project {
    root: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("files")).unwrap();
        Self { root }
    }

    /// With this in `all.yaml`.
    pub(crate) fn with(yaml: &str) -> Self {
        let project = Self::new();
        project.write("all.yaml", yaml);
        project
    }

    /// Where the files are.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.path().join("files")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Writes one of the files.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.files().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `varve dev` over the files, with the process runner.
    pub(crate) fn dev(&self, more: &[&str]) -> Command {
        let mut command = bare_dev();
        command.arg(self.files()).arg("--state").arg(self.state()).args(["--runner", "process"]).args(more);
        command.env(MARK, self.root.path());
        command
    }

    /// `varve dev --once`, to its end.
    pub(crate) fn once(&self) -> Ended {
        ended(&mut self.dev(&["--once"]))
    }

    /// `varve dev`, once it serves.
    pub(crate) fn start(&self) -> Dev {
        Dev::start(self.dev(&[]), self.root.path())
    }

    /// A client as its kubeconfig makes one.
    pub(crate) async fn client(&self) -> Client {
        let text = Kubeconfig::read_from(self.state().join("kubeconfig")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(text, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Waits until nothing that some `varve dev` here has started is left.
    #[track_caller]
    pub(crate) fn until_nothing_runs(&self) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < give_up, "these are left: {left:#?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Processes that some `varve dev` here has started, as the machine shows them.
    fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.root.path().display());
        let has_mark = |environment: &[u8]| environment.split(|byte| *byte == 0).any(|it| it == mark.as_bytes());
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let ours = processes.filter(|path| fs::read(path.join("environ")).is_ok_and(|it| has_mark(&it)));
        ours.filter_map(|path| {
            let words = fs::read(path.join("cmdline")).ok()?;
            Some(format!("{}: {}", path.display(), String::from_utf8_lossy(&words).replace('\0', " ")))
        })
        .collect()
    }
}

/// `varve dev` with nothing said, and nothing taken from the environment of the tests.
pub(crate) fn bare_dev() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varve"));
    command.arg("dev").env_remove("VARVE_STATE").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs a `varve dev` that is to end by itself.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let impatient = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    impatient.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

/// A `varve dev` that runs; killed when dropped.
pub(crate) struct Dev {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Dev {
    fn start(mut command: Command, folder: &Path) -> Self {
        let (out, err) = (folder.join("out"), folder.join("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    /// What it has printed.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it has complained of.
    pub(crate) fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until something holds of what it prints and of what it complains of.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&str, &str) -> bool) {
        until(what, || {
            let (out, err) = (self.out(), self.err());
            let has_ended = self.child.try_wait().unwrap();
            assert!(has_ended.is_none() || holds(&out, &err), "{what}: it has ended: {has_ended:?}\n{out}\n{err}");
            holds(&out, &err)
        });
    }

    /// Waits until it serves its API.
    #[track_caller]
    pub(crate) fn until_it_serves(&mut self) {
        self.until("it serves", |out, _| out.contains("\nkubectl "));
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As by Ctrl-C.
    pub(crate) fn stop(mut self) -> ExitStatus {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        until("it has stopped", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "awaited in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}
