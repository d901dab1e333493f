//! The shim's settings: fixed in a pod; the environment moves them for tests and other runners.

use std::path::PathBuf;
use std::time::Duration;

use varve_api::pod;

use crate::pod::SHIM_PREFIX;

/// Pause between two attempts to connect: unnoticeable beside a container's start.
pub(super) const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// Variables that container runtimes and device plugins name a container's devices in.
const DEVICE_VARIABLES: [&str; 4] =
    ["NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GAUDI_VISIBLE_DEVICES"];

/// Where things are and how long to wait for them.
#[derive(Debug)]
pub(super) struct Config {
    /// The keeper's socket.
    pub socket: PathBuf,
    /// Where the user's code leaves its output.
    pub out: PathBuf,
    /// The root of the container's cgroup file system.
    pub cgroup: PathBuf,
    /// How long the keeper may take to appear. It is started right after us, from an image that
    /// the init container already pulled.
    pub first_contact: Duration,
    /// How long the keeper's socket may refuse us. It is refused for an instant as the keeper opens it, and for good once
    /// a keeper has gone that a container started again would look for in vain.
    pub refused: Duration,
    /// Between SIGTERM and SIGKILL for the user's code.
    pub grace: Duration,
    /// Between the pod's SIGTERM and our exit if the keeper never says `Bye`; below the 30 s
    /// that Kubernetes grants by default.
    pub stop_deadline: Duration,
}

impl Config {
    pub(super) fn from_env() -> Self {
        Self {
            socket: path("SOCKET", &format!("{}/{}", pod::CTL_PATH, pod::SOCKET)),
            out: path("OUT", &format!("{}/{}", pod::PFS_PATH, pod::OUT)),
            cgroup: path("CGROUP", "/sys/fs/cgroup"),
            first_contact: millis("FIRST_CONTACT_MS", 300_000),
            refused: millis("REFUSED_MS", 10_000),
            grace: millis("GRACE_MS", 10_000),
            stop_deadline: millis("STOP_DEADLINE_MS", 25_000),
        }
    }

    /// The container's devices, as its environment names them.
    #[expect(clippy::unused_self, reason = "part of what the configuration knows")]
    pub(super) fn devices(&self) -> Vec<String> {
        devices(|name| std::env::var(name).ok())
    }
}

/// The devices of the first variable that names any: an image's default, as CUDA's images have one, is no device's name.
fn devices(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let is_device = |name: &&str| !["", "all", "none", "void"].contains(name);
    let named = DEVICE_VARIABLES
        .iter()
        .filter_map(|name| variable(name))
        .map(|value| value.split(',').map(str::trim).filter(is_device).map(str::to_owned).collect::<Vec<_>>());
    named.into_iter().find(|devices| !devices.is_empty()).unwrap_or_default()
}

fn path(name: &str, default: &str) -> PathBuf {
    std::env::var_os(format!("{SHIM_PREFIX}{name}")).map_or_else(|| default.into(), PathBuf::from)
}

fn millis(name: &str, default: u64) -> Duration {
    let set = std::env::var(format!("{SHIM_PREFIX}{name}")).ok().and_then(|text| text.parse().ok());
    Duration::from_millis(set.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_default_hides_no_device_that_another_variable_names() {
        let given = |name: &str| match name {
            "NVIDIA_VISIBLE_DEVICES" => Some("void".to_owned()),
            "CUDA_VISIBLE_DEVICES" => Some("GPU-3, GPU-5".to_owned()),
            _ => None,
        };
        assert_eq!(devices(given), ["GPU-3", "GPU-5"]);
        assert_eq!(devices(|_| Some("all".to_owned())), [""; 0]);
    }
}
