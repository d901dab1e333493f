//! Containers as processes of this machine: no image, the machine's own programs.
//!
//! Where namespaces can be had the user's process sees `/pfs` and its other volumes at their places ([`super::inside`]).
//! Where not, they are found by variables alone: `PFS`, and the path of each input under its name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use varve_api::pod::{CTL_PATH, IMPORT_PATH, OUT, PFS, PFS_PATH, SHIM_COMMAND, SOCKET, STORE_PATH, USER, VOLUME_PATH};
use varve_worker::pod::{ENV_IMPORT_SECRETS, ENV_PFS, ENV_STORE, ENV_VOLUME, SHIM_PREFIX};
use varve_worker::termination::ENV_TERMINATION_LOG;

use super::inside::{self, Inside};
use super::launch::{Launch, Task};
use super::parent::Starter;

/// Where user code finds `/pfs` when that is not to be had.
const ENV_FALLBACK_PFS: &str = "PFS";
/// No cgroup: that of `varve dev` would blame every pod for what the kernel killed in one.
const NO_CGROUP: &str = "/dev/null";

/// What user processes see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `/pfs` and all volumes at their places.
    Inside,
    /// The machine as it is: `/pfs` is where `PFS` says.
    Outside,
}

impl View {
    /// Tries which of the two can be had.
    pub(crate) async fn find(exe: &Path, folder: &Path, starter: &Starter) -> io::Result<Self> {
        let probe = folder.join("probe");
        let (root, pfs) = (probe.join("root"), probe.join("pfs"));
        fs::create_dir_all(&root)?;
        fs::create_dir_all(&pfs)?;
        let mount = |to: &str| inside::Mount { from: pfs.clone(), to: to.into(), is_read_only: true };
        let inside = Inside { root, mounts: vec![mount(PFS_PATH), mount(CTL_PATH)], working_dir: None };
        let launch = enter(exe, &probe.join("inside.json"), &inside, vec![exe.into(), "shim".into(), "noop".into()])?;
        let log = probe.join("log");
        let status = starter.start(launch.command(fs::File::create(&log)?)?).await?.wait().await?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_dir_all(&probe);
        if status.success() {
            return Ok(Self::Inside);
        }
        tracing::debug!(%status, said, "no namespaces for user code");
        Ok(Self::Outside)
    }
}

/// The process of a container of ours.
pub(crate) fn own(task: &Task<'_>, exe: &Path, view: View) -> Launch {
    let mut env = task.env.clone();
    let mut set = |name: &str, value: &Path| env.push((name.to_owned(), value.display().to_string()));
    for (path, name) in [(VOLUME_PATH, ENV_VOLUME), (STORE_PATH, ENV_STORE), ("/tmp", "TMPDIR")] {
        if let Some(from) = task.source_of(path) {
            set(name, from);
        }
    }
    if task.mounts.iter().any(|mount| mount.to.starts_with(IMPORT_PATH)) {
        set(ENV_IMPORT_SECRETS, &task.folder.imports());
    }
    if let (View::Outside, Some(volume)) = (view, task.source_of(VOLUME_PATH)) {
        set(ENV_PFS, &volume.join(PFS));
    }
    set(ENV_TERMINATION_LOG, &task.folder.termination_log(&task.container.name));
    // As in our image: an arena a thread would follow the machine's cores and not the work.
    env.push(("MALLOC_ARENA_MAX".to_owned(), "2".to_owned()));
    let args = task.argv().into_iter().skip(1).map(OsString::from).collect();
    Launch { program: exe.to_owned(), args, env, working_dir: None }
}

/// The process of another container. Without an image it must name a command.
pub(crate) fn user(task: &Task<'_>, exe: &Path, view: View) -> io::Result<Launch> {
    let argv = task.argv();
    let Some((program, arguments)) = argv.split_first() else {
        let name = &task.container.name;
        return Err(io::Error::other(format!(
            "container {name} must have a command: its image is not looked at where containers are processes"
        )));
    };
    let mut command: Vec<OsString> =
        if program == SHIM_COMMAND { vec![exe.into(), "shim".into()] } else { vec![program.into()] };
    command.extend(arguments.iter().map(OsString::from));
    let mut env = task.env.clone();
    env.push((format!("{SHIM_PREFIX}CGROUP"), NO_CGROUP.to_owned()));
    if view == View::Inside {
        let folder = task.folder.container(&task.container.name);
        let (root, working_dir) = (folder.join("root"), task.working_dir());
        let inside = Inside { root, mounts: task.mounts.clone(), working_dir };
        let launch = enter(exe, &folder.join("inside.json"), &inside, command)?;
        return Ok(Launch { env, ..launch });
    }
    if let Some(control) = task.source_of(CTL_PATH) {
        env.push((format!("{SHIM_PREFIX}SOCKET"), control.join(SOCKET).display().to_string()));
    }
    if let Some(pfs) = task.source_of(PFS_PATH) {
        env.push((format!("{SHIM_PREFIX}OUT"), pfs.join(OUT).display().to_string()));
        env.push((ENV_FALLBACK_PFS.to_owned(), pfs.display().to_string()));
    }
    if let Some(hidden) = task.mounts.iter().find(|mount| ![PFS_PATH, CTL_PATH].map(Path::new).contains(&&*mount.to)) {
        tracing::warn!(
            pod = task.pod.metadata.name,
            mount = %hidden.to.display(),
            "a volume can't be shown at its place without namespaces: {USER} code finds it not"
        );
    }
    let program = command.remove(0);
    Ok(Launch { program: PathBuf::from(program), args: command, env, working_dir: task.working_dir() })
}

fn enter(exe: &Path, file: &Path, inside: &Inside, command: Vec<OsString>) -> io::Result<Launch> {
    fs::write(file, serde_json::to_vec(inside)?)?;
    Ok(Launch { program: exe.to_owned(), args: inside::arguments(file, command), env: Vec::new(), working_dir: None })
}
