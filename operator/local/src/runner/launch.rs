//! A container that is to be started, and the command that starts it on this machine. Pure.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::process::Command;
use varve_api::pod::VARVE_COMMAND;

use super::env::expand;
use super::folder::PodFolder;
use super::inside::Mount;

/// A container with all that it needs.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    /// Its variables.
    pub(crate) env: Vec<(String, String)>,
    /// What it sees where.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) folder: &'a PodFolder,
}

impl Task<'_> {
    /// Program and arguments as the pod names them; empty where the image is to say.
    pub(crate) fn argv(&self) -> Vec<String> {
        let parts = self.container.command.iter().flatten().chain(self.container.args.iter().flatten());
        parts.map(|part| expand(part, &self.env)).collect()
    }

    /// Where on the machine the container's `path` is.
    pub(crate) fn source_of(&self, path: &str) -> Option<&PathBuf> {
        self.mounts.iter().find(|mount| mount.to.as_os_str() == path).map(|mount| &mount.from)
    }

    pub(crate) fn working_dir(&self) -> Option<PathBuf> {
        self.container.working_dir.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

/// Whether a container runs our own program, which is on the machine already, whatever runs the others.
pub(crate) fn is_own(container: &Container) -> bool {
    container.command.iter().flatten().next().is_some_and(|program| program == VARVE_COMMAND)
}

/// A process on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Variables beside those of `varve dev` itself.
    pub(crate) env: Vec<(String, String)>,
    /// Where it begins; where `varve dev` was started if none is named.
    pub(crate) working_dir: Option<PathBuf>,
}

impl Launch {
    /// The command, in a process group of its own, which prints to `log`.
    pub(crate) fn command(self, log: File) -> std::io::Result<Command> {
        let mut command = Command::new(self.program);
        for (name, _) in std::env::vars_os() {
            // What tells `varve dev` where things are would tell its children wrong.
            if name.to_string_lossy().starts_with("VARVE_") {
                command.env_remove(name);
            }
        }
        command.args(self.args).envs(self.env).process_group(0);
        if let Some(working_dir) = self.working_dir {
            command.current_dir(working_dir);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}
