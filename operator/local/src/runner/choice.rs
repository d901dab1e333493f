//! Which runner runs the containers of others: asked for, or found.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::engine::{Engine, EngineKind, find_shim};

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunnerChoice {
    /// The first engine that answers; else processes.
    #[default]
    Auto,
    /// Processes of this machine; images are not looked at.
    Process,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl.
    Nerdctl,
}

impl FromStr for RunnerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "process" => Self::Process,
            "docker" => Self::Docker,
            "podman" => Self::Podman,
            "nerdctl" => Self::Nerdctl,
            _ => return Err(format!("the runner must be auto, process, docker, podman or nerdctl, not {text:?}")),
        })
    }
}

impl RunnerChoice {
    fn engine(self) -> Option<EngineKind> {
        match self {
            Self::Auto | Self::Process => None,
            Self::Docker => Some(EngineKind::Docker),
            Self::Podman => Some(EngineKind::Podman),
            Self::Nerdctl => Some(EngineKind::Nerdctl),
        }
    }
}

/// The way that every machine has.
const OTHERWISE: &str = "or choose --runner process, which needs no engine and uses no image";

/// How containers of others are run.
#[derive(Debug, Clone)]
pub(crate) enum Means {
    /// As processes.
    Process,
    /// By an engine, with this shim put into each.
    Engine(Engine, PathBuf),
}

impl Means {
    /// Looks for what was asked for. The error names what is missing and what else could be chosen.
    pub(crate) async fn find(choice: RunnerChoice, exe: &Path, folder: &Path) -> Result<Self, String> {
        if choice == RunnerChoice::Process {
            return Ok(Self::Process);
        }
        if let Some(kind) = choice.engine() {
            let engine = Engine::find(kind, folder).await;
            let told = |why| format!("--runner {} can't be used: {why}; {OTHERWISE}", kind.program());
            let engine = engine.map_err(told)?;
            return Ok(Self::Engine(engine, find_shim(exe).map_err(told)?));
        }
        let mut missing = Vec::new();
        for kind in EngineKind::all() {
            match Engine::find(kind, folder).await {
                Ok(engine) => match find_shim(exe) {
                    Ok(shim) => return Ok(Self::Engine(engine, shim)),
                    Err(why) => missing.push(why),
                },
                Err(why) => missing.push(why),
            }
        }
        tracing::info!(looked_for = missing.join("; "), "no container engine can be used");
        Ok(Self::Process)
    }

    pub(crate) fn is_engine(&self) -> bool {
        matches!(self, Self::Engine(..))
    }

    /// As users know it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Engine(engine, _) => engine.kind.program(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_is_none_is_refused_with_those_there_are() {
        assert_eq!("podman".parse(), Ok(RunnerChoice::Podman));
        let refused = "lxc".parse::<RunnerChoice>().unwrap_err();
        assert_eq!(refused, "the runner must be auto, process, docker, podman or nerdctl, not \"lxc\"");
    }
}
