//! The user's processes: starting one, signalling it, reaping all, leaving none behind.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::pod::SHIM_PREFIX;
use crate::protocol::{NotStarted, Run, StartFailure};

/// A started command. Reaped by [`reap`] alone, never through std's handle.
pub(super) struct Child {
    pub pid: Pid,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

/// What reaping found.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// How the watched process ended, if it did.
    pub watched: Option<WaitStatus>,
    /// No child is left, neither ours nor adopted.
    pub none_left: bool,
}

/// Has orphans come to us also where we are not PID 1.
pub(super) fn adopt_orphans() {
    if !is_init() {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
}

fn is_init() -> bool {
    rustix::process::getpid() == Pid::INIT
}

/// Starts the command in a process group of its own, with nothing on its standard input.
pub(super) fn start(run: &Run) -> Result<Child, NotStarted> {
    let (program, arguments) = run.argv.split_first().ok_or_else(|| NotStarted {
        reason: StartFailure::CommandNotFound,
        code: 127,
        message: "the command is empty: neither the Pipeline nor the image names one".into(),
    })?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(SHIM_PREFIX) {
            command.env_remove(name);
        }
    }
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = run.working_dir.as_deref().filter(|path| !path.is_empty()) {
        check_directory(directory)?;
        command.current_dir(directory);
    }
    let mut child = command.spawn().map_err(|error| start_failure(program, &error))?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    match (pid, pipes) {
        (Some(pid), Some((stdout, stderr))) => Ok(Child { pid, stdout, stderr }),
        _ => Err(start_failure(program, &io::Error::other("the system gave no process id or pipes"))),
    }
}

fn check_directory(directory: &str) -> Result<(), NotStarted> {
    let unusable = |why: &str| NotStarted {
        reason: StartFailure::WorkingDirectoryUnusable,
        code: 126,
        message: format!("can't run in the working directory {directory}: {why}"),
    };
    match fs::metadata(directory) {
        Err(error) => Err(unusable(&error.to_string())),
        Ok(found) if !found.is_dir() => Err(unusable("it is no directory")),
        Ok(_) => Ok(()),
    }
}

fn start_failure(program: &str, error: &io::Error) -> NotStarted {
    if error.kind() == io::ErrorKind::NotFound && !Path::new(program).is_file() {
        return NotStarted {
            reason: StartFailure::CommandNotFound,
            code: 127,
            message: format!("command not found in the image: {program}"),
        };
    }
    let why = if error.kind() == io::ErrorKind::NotFound {
        "the interpreter that its first line or its ELF header names is not in the image".to_owned()
    } else {
        error.to_string()
    };
    NotStarted {
        reason: StartFailure::CommandNotExecutable,
        code: 126,
        message: format!("command can't be executed: {program}: {why}"),
    }
}

/// Signals the command and whatever it started in its own process group. The command itself may have left that group.
pub(super) fn signal(leader: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(leader, signal);
    if rustix::process::getpgid(Some(leader)).is_ok_and(|group| group != leader) {
        let _ = rustix::process::kill_process(leader, signal);
    }
}

/// Collects every ended child without waiting.
pub(super) fn reap(watched: Option<Pid>) -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == watched && (status.exited() || status.signaled()) => {
                reaped.watched = Some(status);
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return reaped,
            Err(_) => {
                reaped.none_left = true;
                return reaped;
            }
        }
    }
}

/// Kills every process that the user's code left running. Called again until none is left, since
/// a killed process's children come to us only then.
pub(super) fn kill_left_over() {
    if is_init() {
        // As PID 1 this is kill(-1): atomic, so nothing can fork faster than it is killed.
        let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
        return;
    }
    for pid in children_of(rustix::process::getpid()) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// The living children of a process, from `/proc`.
fn children_of(parent: Pid) -> Vec<Pid> {
    all_processes()
        .filter(|pid| parent_of(*pid) == Some(parent.as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

fn all_processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
}

/// The most processes that are told of, and the most characters of each.
const MAX_TOLD: (usize, usize) = (5, 120);

/// What the command and the processes below us run, the command first.
///
/// Of processes that the code started itself only the program and those arguments are told that name files: others may
/// hold what came from a Secret, and this ends in a status that more people may read.
pub(super) fn command_lines(main: Pid) -> Vec<String> {
    let main = main.as_raw_nonzero().get();
    let mut pids: Vec<i32> = all_processes().filter(|&pid| is_below_us(pid)).collect();
    pids.sort_unstable_by_key(|&pid| (pid != main, pid));
    pids.into_iter().filter_map(|pid| command_line(pid, pid == main)).take(MAX_TOLD.0).collect()
}

fn is_below_us(pid: i32) -> bool {
    let us = rustix::process::getpid().as_raw_nonzero().get();
    let line = std::iter::successors(parent_of(pid), |&parent| parent_of(parent).filter(|_| parent > 1));
    line.take(256).any(|parent| parent == us)
}

fn command_line(pid: i32, is_whole: bool) -> Option<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&raw);
    let mut arguments = text.trim_end_matches('\0').split('\0');
    let program = arguments.next().filter(|program| !program.is_empty())?; // a zombie has none
    let told = arguments.filter(|argument| is_whole || (argument.starts_with('/') && Path::new(argument).exists()));
    let line = [program].into_iter().chain(told).collect::<Vec<_>>().join(" ");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(match line.char_indices().nth(MAX_TOLD.1) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    })
}

/// Field 4 of `/proc/<pid>/stat`; the name in field 2 may hold spaces and brackets.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
