//! What differs between the engines, and between machines.

use std::fs;

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// Docker, with its daemon.
    Docker,
    /// Podman, without one.
    Podman,
    /// nerdctl, which speaks to containerd.
    Nerdctl,
}

/// In the order in which they are looked for: the one with a running daemon is the one that its owner uses.
pub(super) const ALL: [EngineKind; 3] = [EngineKind::Docker, EngineKind::Podman, EngineKind::Nerdctl];

/// The capability to raise a process's limits, as a bit of `CapEff`.
const CAP_SYS_RESOURCE: u32 = 24;

/// The most processes that such a podman may let a container have: it lowers its own limit before it sets this one
/// (50,000 of our 96,365 were refused, 4,096 were not).
const MAX_PROCESSES: u64 = 4096;

/// What of this machine counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    /// We are root, and still may not raise limits: a container without that right.
    pub(super) is_bounded_root: bool,
    /// Our own limits on open files and on processes.
    pub(super) max_files: u64,
    pub(super) max_processes: u64,
}

impl Machine {
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
        let may_raise = capabilities & (1 << CAP_SYS_RESOURCE) != 0;
        let limit = |what| rustix::process::getrlimit(what).maximum.unwrap_or(1 << 20);
        Self {
            is_bounded_root: rustix::process::geteuid().is_root() && !may_raise,
            max_files: limit(rustix::process::Resource::Nofile),
            max_processes: limit(rustix::process::Resource::Nproc).min(MAX_PROCESSES),
        }
    }
}

impl EngineKind {
    /// All of them.
    pub(crate) fn all() -> [Self; 3] {
        ALL
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
        }
    }

    /// Flags of `run` that this machine needs.
    pub(super) fn run_flags(self, machine: &Machine) -> Vec<String> {
        let Machine { is_bounded_root, max_files, max_processes } = *machine;
        // Podman asks for more than such a root may give (`error setting rlimit type 7`); a daemon has its own rights.
        if self == Self::Podman && is_bounded_root {
            return vec![
                format!("--ulimit=nofile={max_files}:{max_files}"),
                format!("--ulimit=nproc={max_processes}:{max_processes}"),
            ];
        }
        Vec::new()
    }

    /// The digest of an image's configuration as a pod's `imageID` has it, from what `image inspect` calls its id.
    pub(super) fn image_id(id: &str) -> String {
        if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_podman_under_a_root_without_rights_is_told_its_limits() {
        let machine = Machine { is_bounded_root: true, max_files: 20_000, max_processes: 900 };
        let flags = EngineKind::Podman.run_flags(&machine);
        assert_eq!(flags, ["--ulimit=nofile=20000:20000", "--ulimit=nproc=900:900"]);
        assert_eq!(EngineKind::Docker.run_flags(&machine), [""; 0]);
        assert_eq!(EngineKind::Podman.run_flags(&Machine { is_bounded_root: false, ..machine }), [""; 0]);
    }
}
