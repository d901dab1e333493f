//! The real shim as a process of its own, against a keeper that each test plays.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use varve_worker::protocol::{self, Ended, Hello, Outcome, Run, StartFailure, ToKeeper, ToShim};

/// Longest any awaited thing may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shim, and the keeper's end of its stream.
struct Shim {
    root: tempfile::TempDir,
    process: Child,
    stream: UnixStream,
    hello: Hello,
}

impl Shim {
    fn start() -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_varve-shim")))
    }

    fn start_as(mut command: Command) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("out")).unwrap();
        let listener = UnixListener::bind(root.path().join("keeper.sock")).unwrap();
        settings(&mut command, root.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Some(ToKeeper::Hello(hello)) = protocol::read_frame(&mut stream).unwrap() else { panic!("no hello") };
        Self { root, process, stream, hello }
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    fn send(&mut self, message: &ToShim) {
        protocol::write_frame(&mut self.stream, message, &[]).unwrap();
    }

    /// Starts a shell script.
    fn begin(&mut self, script: &str) {
        self.send(&ToShim::Run(shell(script)));
    }

    /// Runs a shell script to its end: what it printed, and how it ended.
    fn run(&mut self, script: &str) -> (String, Ended) {
        self.run_this(shell(script))
    }

    fn run_this(&mut self, run: Run) -> (String, Ended) {
        self.send(&ToShim::Run(run));
        self.until_ended()
    }

    fn until_ended(&mut self) -> (String, Ended) {
        let mut printed = Vec::new();
        loop {
            match protocol::read_frame(&mut self.stream).unwrap().expect("the shim hung up") {
                ToKeeper::Output { bytes, .. } => {
                    let start = printed.len();
                    printed.resize(start + bytes as usize, 0);
                    self.stream.read_exact(&mut printed[start..]).unwrap();
                }
                ToKeeper::Ended(ended) => return (String::from_utf8(printed).unwrap(), ended),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next thing printed.
    fn printed(&mut self) -> String {
        match protocol::read_frame(&mut self.stream).unwrap().expect("the shim hung up") {
            ToKeeper::Output { bytes, .. } => {
                let mut printed = vec![0; bytes as usize];
                self.stream.read_exact(&mut printed).unwrap();
                String::from_utf8(printed).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap()
    }

    /// Hangs up with a good-bye and waits for the exit code.
    fn bye(mut self, exit_code: i32) -> Option<i32> {
        self.send(&ToShim::Bye { exit_code });
        self.process.wait().unwrap().code()
    }
}

fn settings(command: &mut Command, root: &Path) {
    command
        .env("VARVE_SHIM_SOCKET", root.join("keeper.sock"))
        .env("VARVE_SHIM_OUT", root.join("out"))
        .env("VARVE_SHIM_CGROUP", root.join("cgroup"))
        .env("VARVE_SHIM_GRACE_MS", "200")
        .env("VARVE_SHIM_FIRST_CONTACT_MS", "200")
        .env("NVIDIA_VISIBLE_DEVICES", "gpu-3,gpu-5")
        .env("FROM_THE_IMAGE", "yes");
}

fn shell(script: &str) -> Run {
    Run {
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        working_dir: None,
        env: Vec::new(),
        timeout_seconds: None,
    }
}

fn is_alive(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_s_output_and_exit_code_are_reported_byte_for_byte() {
    let mut shim = Shim::start();
    let devices = vec!["gpu-3".into(), "gpu-5".into()];
    assert_eq!(shim.hello, Hello { version: protocol::VERSION, devices, memory_limit: None });
    let (printed, ended) = shim.run("echo first; exit 7");
    assert_eq!((printed.as_str(), ended.outcome), ("first\n", Outcome::Exited { code: 7 }));
    let (printed, ended) = shim.run("head -c 20000000 /dev/zero | tr '\\0' x");
    assert_eq!((printed.len(), ended.outcome), (20_000_000, Outcome::Exited { code: 0 }));
    assert!(ended.started_ns > 0 && ended.ended_ns >= ended.started_ns);
    assert_eq!(shim.bye(0), Some(0));
}

#[test]
fn a_command_sees_the_image_s_environment_and_its_datum_s_but_none_of_the_shim_s() {
    let mut shim = Shim::start();
    let run = Run {
        env: vec![("images".into(), "/pfs/images/a b.png".into())],
        working_dir: Some("/usr".into()),
        ..shell("env; pwd")
    };
    let (printed, _) = shim.run_this(run);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines.contains(&"FROM_THE_IMAGE=yes") && lines.contains(&"images=/pfs/images/a b.png"), "{printed}");
    assert!(!printed.contains("VARVE_SHIM_"), "{printed}");
    assert_eq!(lines.last(), Some(&"/usr"));
}

#[test]
fn a_command_ended_by_a_signal_is_reported_with_it() {
    let (_, ended) = Shim::start().run("kill -9 $$");
    assert_eq!(ended.outcome, Outcome::Signalled { signal: 9 });
}

#[test]
fn a_command_that_cannot_start_says_whether_it_is_missing_or_not_executable() {
    let mut shim = Shim::start();
    let plain = shim.root.path().join("plain.txt");
    fs::write(&plain, "no program").unwrap();
    let script = shim.root.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut failure = |program: &str, working_dir: Option<&str>| {
        let run = Run { argv: vec![program.into()], working_dir: working_dir.map(Into::into), ..shell("") };
        match shim.run_this(run).1.outcome {
            Outcome::NotStarted(failure) => (failure.reason, failure.code, failure.message),
            other => panic!("{other:?}"),
        }
    };
    let (reason, code, message) = failure("no-such-program", None);
    assert_eq!((reason, code), (StartFailure::CommandNotFound, 127));
    assert!(message.contains("no-such-program"), "{message}");
    let (reason, code, _) = failure(plain.to_str().unwrap(), None);
    assert_eq!((reason, code), (StartFailure::CommandNotExecutable, 126));
    let (reason, _, message) = failure(script.to_str().unwrap(), None);
    assert_eq!(reason, StartFailure::CommandNotExecutable);
    assert!(message.contains("interpreter"), "{message}");
    let (reason, _, message) = failure("/bin/sh", Some("/no/such/folder"));
    assert_eq!(reason, StartFailure::WorkingDirectoryUnusable);
    assert!(message.contains("/no/such/folder"), "{message}");
}

#[test]
fn a_command_over_its_time_is_asked_to_end_and_then_killed() {
    let mut shim = Shim::start();
    let polite =
        Run { timeout_seconds: Some(1), ..shell("trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; done") };
    let (printed, ended) = shim.run_this(polite);
    // The shell may tell of its ended `sleep` too, before or after.
    assert!(printed.lines().any(|line| line == "asked"), "{printed}");
    assert_eq!(ended.outcome, Outcome::TimedOut);
    let deaf = Run { timeout_seconds: Some(1), ..shell("trap '' TERM; while :; do sleep 0.01; done") };
    assert_eq!(shim.run_this(deaf).1.outcome, Outcome::TimedOut);
    assert_eq!(shim.run("true").1.outcome, Outcome::Exited { code: 0 });
}

#[test]
fn a_command_over_its_time_is_told_with_what_it_was_doing_and_no_argument_that_may_be_secret() {
    let mut shim = Shim::start();
    let script = "sleep 1000.25 & sh -c 'read forever </dev/zero' hidden-word /etc/hostname-no /etc/passwd & wait";
    let slow = Run { timeout_seconds: Some(1), ..shell(script) };
    let (_, ended) = shim.run_this(slow);
    let [main, children @ ..] = ended.running.as_slice() else { panic!("nothing was running: {ended:?}") };
    assert!(main.starts_with("/bin/sh -c sleep 1000.25") || main.starts_with("sh -c sleep 1000.25"), "{main}");
    let mut children: Vec<&str> = children.iter().map(|line| line.rsplit('/').next().unwrap_or(line)).collect();
    children.sort_unstable();
    assert_eq!(children, ["passwd", "sleep"], "{ended:?}");
    assert!(ended.running.iter().skip(1).all(|line| !line.contains("hidden-word")), "{ended:?}");
}

#[test]
fn a_command_that_leaves_its_process_group_cannot_outlive_its_time() {
    let mut shim = Shim::start();
    let script = "exec python3 -c 'import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
                  os.setpgid(0, os.getpgid(os.getppid()))\nprint(1, flush=True)\ntime.sleep(1000)'";
    let evading = Run { timeout_seconds: Some(1), ..shell(script) };
    let (printed, ended) = shim.run_this(evading);
    assert_eq!((printed.as_str(), ended.outcome), ("1\n", Outcome::TimedOut));
}

#[test]
fn what_a_command_leaves_running_is_killed_before_its_end_is_reported() {
    let mut shim = Shim::start();
    // One in the command's process group, one in a session of its own, one orphaned below that,
    // and all of them hold the command's output open.
    let (printed, ended) = shim.run(
        "sleep 1000 & echo $!; setsid sh -c 'sleep 1000 & echo $!; sleep 1000' & echo $!; \
         (setsid sleep 1000 & echo $!) ; while [ $(cat /proc/$$/task/$$/children | wc -w) -lt 2 ]; do :; done; sleep 0.05",
    );
    assert_eq!(ended.outcome, Outcome::Exited { code: 0 });
    assert!(printed.lines().count() >= 3, "{printed}");
    for pid in printed.lines() {
        assert!(!is_alive(pid), "{pid} lives; printed: {printed}");
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shim.process.id())).unwrap();
    assert_eq!(children.trim(), "", "no zombie is left");
}

#[test]
fn what_is_printed_after_a_run_was_given_up_belongs_to_no_other() {
    let mut shim = Shim::start();
    shim.begin("echo $$; read forever </dev/zero");
    let pid = shim.printed();
    // As a process that cannot be killed would: it holds the run's output open beyond its end.
    let mut late = fs::OpenOptions::new().write(true).open(format!("/proc/{}/fd/1", pid.trim())).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(shim.until_ended().1.outcome, Outcome::Signalled { signal: 9 });
    late.write_all(b"late").unwrap();
    shim.begin("echo begun; sleep 0.2; echo next");
    assert_eq!(shim.printed(), "begun\n");
    drop(late); // the end of the old pipe is not one of the new run's
    assert_eq!(shim.until_ended().0, "next\n");
}

#[test]
fn orphans_that_end_during_a_run_do_not_stay_as_zombies() {
    let mut shim = Shim::start();
    shim.begin("for i in 1 2 3 4 5; do (sh -c 'true' &) ; done; echo made; read forever </dev/zero");
    assert_eq!(shim.printed(), "made\n");
    let own = format!("/proc/{0}/task/{0}/children", shim.process.id());
    wait_until("orphans are reaped", || fs::read_to_string(&own).unwrap().split_whitespace().count() == 1);
}

#[test]
fn a_raised_count_of_kills_for_memory_shows_whatever_the_exit_code() {
    for (file, text) in [("memory.events", "oom 1\noom_kill"), ("memory/memory.oom_control", "under_oom 0\noom_kill")] {
        let mut shim = Shim::start();
        let counter = shim.root.path().join("cgroup").join(file);
        fs::create_dir_all(counter.parent().unwrap()).unwrap();
        fs::write(&counter, format!("{text} 4\n")).unwrap();
        assert_eq!(shim.run("true").1.oom_kills, 0);
        let (_, ended) = shim.run(&format!("printf '{} 6\\n' > {}", text.replace('\n', "\\n"), counter.display()));
        assert_eq!((ended.outcome, ended.oom_kills), (Outcome::Exited { code: 0 }, 2));
        assert_eq!(shim.run("true").1.oom_kills, 0);
    }
}

#[test]
fn a_stop_of_the_pod_stops_the_command_and_waits_for_the_keeper_s_word() {
    let mut shim = Shim::start();
    shim.begin("trap 'echo stopping; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    assert_eq!(shim.printed(), "ready\n");
    rustix::process::kill_process(shim.pid(), rustix::process::Signal::TERM).unwrap();
    let (printed, ended) = shim.until_ended();
    // The whole group is stopped, so the shell may also tell of its `sleep`, before or after.
    assert!(printed.lines().any(|line| line == "stopping"), "{printed}");
    assert_eq!(ended.outcome, Outcome::Stopped);
    assert_eq!(shim.run("echo not run").1.outcome, Outcome::Stopped);
    assert_eq!(shim.bye(75), Some(75));
}

#[test]
fn a_keeper_that_dies_takes_the_command_with_it() {
    let mut shim = Shim::start();
    shim.begin("trap '' TERM; echo $$; while :; do sleep 0.01; done");
    let pid = shim.printed();
    shim.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(shim.process.wait().unwrap().code(), Some(43));
    assert!(!is_alive(&pid));
}

#[test]
fn a_keeper_that_dies_while_the_command_prints_ends_it_too() {
    let mut shim = Shim::start();
    shim.begin("yes");
    shim.printed();
    shim.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(shim.process.wait().unwrap().code(), Some(43));
}

#[test]
fn without_a_keeper_the_shim_gives_up_after_its_deadline() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_varve-shim"));
    settings(&mut command, root.path());
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(43));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("keeper.sock"));
}

#[test]
fn a_keeper_that_is_gone_is_not_waited_for_until_the_deadline() {
    let root = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(root.path().join("keeper.sock")).unwrap()); // the socket stays, and nobody listens
    let mut command = Command::new(env!("CARGO_BIN_EXE_varve-shim"));
    settings(&mut command, root.path());
    command.env("VARVE_SHIM_FIRST_CONTACT_MS", "600000").env("VARVE_SHIM_REFUSED_MS", "200");
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(43));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("the keeper is gone"));
}

#[test]
fn what_a_killed_run_left_is_cleared_before_the_keeper_hears_of_us() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("out/closed")).unwrap();
    fs::write(root.path().join("out/closed/half"), "half").unwrap();
    fs::set_permissions(root.path().join("out/closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let listener = UnixListener::bind(root.path().join("keeper.sock")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_varve-shim"));
    settings(&mut command, root.path());
    let mut shim = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let hello: Option<ToKeeper> = protocol::read_frame(&mut stream).unwrap();
    assert!(matches!(hello, Some(ToKeeper::Hello(_))), "{hello:?}");
    assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 0);
    drop(stream);
    assert_eq!(shim.wait().unwrap().code(), Some(43));
}

#[test]
fn a_probe_of_the_image_ends_at_once() {
    let status = Command::new(env!("CARGO_BIN_EXE_varve-shim")).arg("noop").status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_is_handed_over_is_open_to_everybody_and_what_failed_is_cleared() {
    let mut shim = Shim::start();
    let out = shim.out();
    let (_, ended) = shim.run(&format!(
        "umask 077; cd {}; mkdir -p a/b; echo data > a/b/file; echo tool > tool; chmod 700 tool; chmod 500 a/b; chmod 1700 a",
        out.display()
    ));
    assert_eq!(ended.output_bytes, 10);
    let mode = |path: &str| fs::symlink_metadata(out.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["a", "a/b", "a/b/file", "tool"].map(mode), [0o777, 0o777, 0o666, 0o766]);
    let run = Run {
        timeout_seconds: Some(1),
        ..shell(&format!("cd {}; mkdir c; echo x > c/x; chmod 0 c; read forever </dev/zero", out.display()))
    };
    assert_eq!(shim.run_this(run).1.outcome, Outcome::TimedOut);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

/// As in a container: PID 1 of a namespace of its own, in which `kill -1` reaches everything.
#[test]
fn as_pid_1_of_a_container_it_leaves_nothing_behind_and_honours_signals() {
    assert!(rustix::process::geteuid().is_root(), "a process namespace needs root: run the tests as root");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_varve-shim")]);
    let mut shim = Shim::start_as(command);
    let (printed, ended) = shim.run(
        "echo $PPID; for i in 1 2 3; do setsid sh -c 'while :; do (sleep 0.01 &); done' & done; sleep 0.1; echo done",
    );
    assert_eq!((printed.as_str(), ended.outcome), ("1\ndone\n", Outcome::Exited { code: 0 }));
    let (printed, _) = shim.run("ls -d /proc/[0-9]* | wc -l; ls /proc/1/root >/dev/null && echo seen");
    assert!(printed.ends_with("seen\n"), "{printed}");
    let count: u32 = printed.lines().next().unwrap().parse().unwrap();
    assert!(count <= 4, "only the shim, the shell and what it pipes: {printed}");
    assert_eq!(shim.bye(0), Some(0));
}
