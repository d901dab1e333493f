//! Containers by a container engine of the machine: `docker`, `podman` or `nerdctl`.
//!
//! Only containers of others' images go to the engine; ours are processes of the machine. The engine's client stays
//! in front of its container: its exit code and what it prints are the container's. One implementation for all three;
//! what differs is in [`table`].

mod image;
mod shim;
mod table;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;

use super::launch::{Launch, Task};
use super::quantity;
pub(crate) use image::PullError;
pub(crate) use shim::find as find_shim;
pub(crate) use table::EngineKind;

/// What an engine's client exits with when the container could not be made or started.
pub(crate) const CANNOT_RUN: i32 = 125;
/// The label by which the containers of one `varve dev` are found: the value is its folder.
const LABEL: &str = "varve.dev/dev";
/// Variables that an engine's client reads itself: given by value, so that the container's are not taken for its own.
const CLIENTS_OWN: [&str; 8] = ["PATH", "HOME", "TMPDIR", "XDG_", "DOCKER_", "CONTAINER", "LD_", "STORAGE_"];

/// An engine that answers.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) kind: EngineKind,
    program: PathBuf,
    /// What each `run` needs on this machine.
    run_flags: Vec<String>,
    folder: PathBuf,
}

impl Engine {
    /// The engine, if it is on the machine and answers; else its words or why not.
    pub(crate) async fn find(kind: EngineKind, folder: &Path) -> Result<Self, String> {
        let program = on_path(kind.program())
            .ok_or_else(|| format!("there is no program {} on PATH: install it", kind.program()))?;
        let run_flags = kind.run_flags(&table::Machine::look());
        let engine = Self { kind, program, run_flags, folder: folder.to_owned() };
        match engine.call(&["info"]).await {
            Ok(output) if output.status.success() => Ok(engine),
            Ok(output) => Err(format!("it does not answer ({}): start it", last_line(&output.stderr))),
            Err(error) => Err(format!("{} can't be started: {error}", engine.program.display())),
        }
    }

    /// The process that runs a container.
    pub(crate) fn run(&self, task: &Task<'_>, image: &str) -> Launch {
        let mut args: Vec<OsString> = ["run", "--name", &name(task)].map(Into::into).into();
        let label = format!("{LABEL}={}", self.folder.display());
        args.extend(["--pull=never", "--label", &label].map(OsString::from));
        args.extend(self.run_flags.iter().map(OsString::from));
        args.extend(rights(task).into_iter().map(OsString::from));
        args.extend(limits(task).into_iter().map(OsString::from));
        for mount in &task.mounts {
            args.extend(["-v".into(), volume(&mount.from, &mount.to, mount.is_read_only)]);
        }
        let words = task.container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        args.extend(["-v".into(), volume(&task.folder.termination_log(&task.container.name), Path::new(words), false)]);
        if let Some(working_dir) = task.working_dir() {
            args.extend(["--workdir".into(), working_dir.into()]);
        }
        if let Some(user) = user(task) {
            args.extend(["--user".into(), user.into()]);
        }
        let mut env = Vec::new();
        for (name, value) in &task.env {
            if CLIENTS_OWN.iter().any(|own| name.starts_with(own)) {
                args.extend(["-e".into(), format!("{name}={value}").into()]);
            } else {
                // By name alone: an argument could be read by every user of the machine.
                args.extend(["-e".into(), name.into()]);
                env.push((name.clone(), value.clone()));
            }
        }
        let command = task.argv();
        let has_command = task.container.command.iter().flatten().next().is_some();
        let (entrypoint, arguments) = match command.split_first() {
            Some((program, arguments)) if has_command => (Some(program), arguments),
            _ => (None, command.as_slice()),
        };
        if let Some(program) = entrypoint {
            args.extend(["--entrypoint".into(), program.into()]);
        }
        args.push(image.into());
        args.extend(arguments.iter().map(OsString::from));
        Launch { program: self.program.clone(), args, env, working_dir: None }
    }

    /// Signals a container.
    pub(crate) async fn kill(&self, name: &str, signal: &str) {
        if let Err(error) = self.call(&["kill", "--signal", signal, name]).await {
            tracing::debug!(name, signal, %error, "a container could not be signalled");
        }
    }

    /// Whether the kernel ended the container for its memory.
    pub(crate) async fn was_out_of_memory(&self, name: &str) -> bool {
        let said = self.call(&["inspect", "--format", "{{.State.OOMKilled}}", name]).await;
        said.is_ok_and(|output| output.stdout.trim_ascii() == b"true")
    }

    /// Removes a container that has ended.
    pub(crate) async fn remove(&self, name: &str) {
        let _ = self.call(&["rm", "--force", name]).await; // the next start removes what is left
    }

    /// Removes all containers that an earlier `varve dev` in this folder left.
    pub(crate) async fn remove_left_over(&self) {
        let filter = format!("label={LABEL}={}", self.folder.display());
        let Ok(listed) = self.call(&["ps", "--all", "--quiet", "--filter", &filter]).await else { return };
        for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            self.remove(id).await;
        }
    }

    async fn call(&self, arguments: &[&str]) -> io::Result<Output> {
        Command::new(&self.program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await
    }
}

/// The container's name to the engine: the pod's uid tells it from all others.
pub(crate) fn name(task: &Task<'_>) -> String {
    let uid = task.pod.metadata.uid.as_deref().unwrap_or_default();
    format!("varve-{uid}-{}", task.container.name)
}

fn volume(from: &Path, to: &Path, is_read_only: bool) -> OsString {
    let mut text = OsString::from(from);
    text.push(":");
    text.push(to);
    text.push(if is_read_only { ":ro" } else { "" });
    text
}

/// Who it runs as, `user:group`.
fn user(task: &Task<'_>) -> Option<String> {
    let own = task.container.security_context.as_ref();
    let pods = task.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let user = own.and_then(|own| own.run_as_user).or_else(|| pods?.run_as_user)?;
    let group = own.and_then(|own| own.run_as_group).or_else(|| pods?.run_as_group);
    Some(group.map_or_else(|| user.to_string(), |group| format!("{user}:{group}")))
}

/// What it may not do, whoever it runs as.
fn rights(task: &Task<'_>) -> Vec<&'static str> {
    let security = task.container.security_context.clone().unwrap_or_default();
    let dropped = security.capabilities.and_then(|capabilities| capabilities.drop).unwrap_or_default();
    let has_none = dropped.iter().any(|capability| capability == "ALL").then_some("--cap-drop=ALL");
    let gets_none = (security.allow_privilege_escalation == Some(false)).then_some("--security-opt=no-new-privileges");
    has_none.into_iter().chain(gets_none).collect()
}

/// What it may use of the machine.
fn limits(task: &Task<'_>) -> Vec<String> {
    let limits = task.container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = |name: &str| quantity::thousandths(&limits?.get(name)?.0);
    let mut flags = Vec::new();
    if let Some(thousandths) = limit("cpu") {
        flags.push(format!("--cpus={}.{:03}", thousandths / 1000, thousandths % 1000));
    }
    if let Some(thousandths) = limit("memory") {
        flags.push(format!("--memory={}", thousandths / 1000));
    }
    flags
}

/// The last line that a client printed: its error, without what it tried before.
pub(crate) fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.trim().lines().last().unwrap_or_default();
    line.trim_start_matches("Error: ").trim_start_matches("Error response from daemon: ").to_owned()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::super::folder::PodFolder;
    use super::super::inside::Mount;
    use super::*;

    #[test]
    fn a_container_is_run_with_its_mounts_user_limits_and_variables() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "uid": "u-7" },
            "spec": { "securityContext": { "runAsGroup": 7 }, "containers": [{
                "name": "user", "command": ["/.varve/varve-shim"], "args": ["noop"], "workingDir": "/work",
                "securityContext": {
                    "runAsUser": 5, "capabilities": { "drop": ["ALL"] }, "allowPrivilegeEscalation": false,
                },
                "resources": { "limits": { "cpu": "1500m", "memory": "64Mi" } },
            }] },
        }))
        .unwrap();
        let folder = PodFolder::of(Path::new("/dev-folder"), "u-7");
        let task = Task {
            pod: &pod,
            container: &pod.spec.as_ref().unwrap().containers[0],
            env: [("TOKEN", "t0ken"), ("PATH", "/opt/bin")].map(|(name, value)| (name.into(), value.into())).into(),
            mounts: vec![Mount { from: "/a/ctl".into(), to: "/.varve".into(), is_read_only: true }],
            folder: &folder,
        };
        let engine = Engine {
            kind: EngineKind::Podman,
            program: "/usr/bin/podman".into(),
            run_flags: vec!["--ulimit=nproc=9:9".into()],
            folder: "/dev-folder".into(),
        };
        let launch = engine.run(&task, "edges@sha256:1");
        let expected = [
            "run --name varve-u-7-user --pull=never --label varve.dev/dev=/dev-folder --ulimit=nproc=9:9",
            "--cap-drop=ALL --security-opt=no-new-privileges --cpus=1.500 --memory=67108864 -v /a/ctl:/.varve:ro",
            "-v /dev-folder/pods/u-7/containers/user/termination-log:/dev/termination-log",
            "--workdir /work --user 5:7 -e TOKEN -e PATH=/opt/bin --entrypoint /.varve/varve-shim edges@sha256:1 noop",
        ];
        let said: Vec<_> = launch.args.iter().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(said.join(" "), expected.join(" "));
        assert_eq!(launch.env, [("TOKEN".to_owned(), "t0ken".to_owned())]);
    }

    #[test]
    fn an_engine_s_error_is_its_last_line() {
        let said = b"Trying to pull x...\nError: initializing source docker://x: connection refused\n";
        assert_eq!(last_line(said), "initializing source docker://x: connection refused");
    }
}
