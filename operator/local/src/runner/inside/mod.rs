//! `varve inside`: a process that sees a pod's volumes where a container would, on a machine that has no such places.
//!
//! Started by the process runner. While still its only thread it takes a mount namespace of its own (and a user
//! namespace where it isn't root), builds a root in which all of `/` is bound and the pod's volumes stand at their
//! places, and starts the command as process 1 of a PID namespace: with that process all that it started ends. The
//! command is started by a second `varve inside`, which mounts the `/proc` of that namespace first.

mod root;

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fs, io};

use rustix::process::Signal;
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde::{Deserialize, Serialize};

use super::parent::{self, ENV_PARENT};

/// Ours when the place can't be made, as container engines use it.
const CANNOT_BEGIN: u8 = 125;
/// The name of the second step, in place of the file.
const SECOND_STEP: &str = "-";

/// What is to be seen where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inside {
    /// An empty folder, on which the root is put together.
    pub(crate) root: PathBuf,
    /// The pod's volumes.
    pub(crate) mounts: Vec<Mount>,
    /// Where the command begins; where `varve dev` was started if none is named.
    pub(crate) working_dir: Option<PathBuf>,
}

/// A file or folder that is seen at another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// Where it is on the machine.
    pub(crate) from: PathBuf,
    /// Where the command sees it.
    pub(crate) to: PathBuf,
    /// It may not be written to.
    pub(crate) is_read_only: bool,
}

/// The program: `file` is an [`Inside`] as JSON. Must be called before the process has a second thread.
pub fn main(file: &Path, command: &[OsString]) -> ExitCode {
    let ended = if file == Path::new(SECOND_STEP) { second(command) } else { first(file, command) };
    ended.unwrap_or_else(|error| {
        eprintln!("varve inside: {error}");
        ExitCode::from(CANNOT_BEGIN)
    })
}

/// The arguments of the program that make it start `command` inside.
pub(crate) fn arguments(file: &Path, command: Vec<OsString>) -> Vec<OsString> {
    ["inside".into(), file.into(), "--".into()].into_iter().chain(command).collect()
}

fn first(file: &Path, command: &[OsString]) -> io::Result<ExitCode> {
    parent::end_with(Signal::KILL);
    let inside: Inside = serde_json::from_slice(&fs::read(file).map_err(doing("read", file))?)?;
    let exe = std::env::current_exe()?;
    let working_dir = std::env::current_dir()?;
    take_namespaces()?;
    root::enter(&inside)?;
    match &inside.working_dir {
        Some(named) => std::env::set_current_dir(named).map_err(doing("begin in", named))?,
        // One of ours that isn't there any more is no reason not to begin.
        None => drop(std::env::set_current_dir(&working_dir)),
    }
    // The whole process group is asked to stop: it is the command that answers.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    parent::end_with(Signal::KILL); // a change of namespaces may have cleared it
    let (alive, _until_we_end) = io::pipe()?;
    let mut child = Command::new(&exe)
        .args(arguments(Path::new(SECOND_STEP), command.to_vec()))
        .env_remove(ENV_PARENT)
        .stdin(alive)
        .spawn()
        .map_err(doing("start", &exe))?;
    let status = child.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// As process 1 of the PID namespace.
fn second(command: &[OsString]) -> io::Result<ExitCode> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if parent::has_hung_up(io::stdin())? {
        std::process::exit(varve_api::exit_codes::STOPPED); // it was gone before we asked
    }
    // Where parts of /proc are hidden from us, as in most containers, a fresh one may not be mounted: then the
    // machine's own stays, with its process ids.
    let _ = root::mount_proc();
    keep_right_to_mount(false)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::other("no command is given"));
    };
    Err(doing("start", Path::new(program))(Command::new(program).args(arguments).stdin(Stdio::null()).exec()))
}

#[expect(deprecated, reason = "unsafe only with FILES, which is not among the flags")]
fn take_namespaces() -> io::Result<()> {
    let own = UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    if rustix::thread::unshare(own).is_ok() {
        return Ok(());
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    rustix::thread::unshare(own | UnshareFlags::NEWUSER)
        .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("take namespaces: {error}")))?;
    for (name, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{user} {user} 1")),
        ("gid_map", format!("{group} {group} 1")),
    ] {
        let path = Path::new("/proc/self").join(name);
        fs::write(&path, text).map_err(doing("write", &path))?;
    }
    Ok(keep_right_to_mount(true)?)
}

/// Without being root, starting a program takes all rights away: the second step needs the one to mount, and the
/// command gets none.
fn keep_right_to_mount(keep: bool) -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable.set(CapabilitySet::SYS_ADMIN, keep);
    rustix::thread::set_capabilities(None, sets)?; // what is not inheritable is not ambient either
    if keep { rustix::thread::configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true) } else { Ok(()) }
}

/// What was being done to what, before the system's words.
pub(super) fn doing<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> io::Error {
    let path = path.display().to_string();
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{what} {path}: {error}"))
    }
}
