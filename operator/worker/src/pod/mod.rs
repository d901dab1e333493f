//! What Varve's programs in a pod share: how the operator talks to them, and where things lie.
//!
//! In a pod every place is fixed ([`varve_api::pod`]). The variables below move them, shorten a wait, or lower a limit,
//! for tests and for runners other than Kubernetes; no pod of the operator's sets one.

pub(crate) mod config;
pub(crate) mod layout;
pub(crate) mod renewing;
pub(crate) mod socket;

/// Where the shared volume is, for `install` and `keeper`.
pub const ENV_VOLUME: &str = "VARVE_VOLUME";
/// Where user code sees its files, for `keeper`.
pub const ENV_PFS: &str = "VARVE_PFS";
/// The folder of the store's Secret, for `keeper` and `import`.
pub const ENV_STORE: &str = "VARVE_STORE";
/// How long the keeper waits for the shim, in milliseconds.
pub const ENV_FIRST_CONTACT_MS: &str = "VARVE_FIRST_CONTACT_MS";
/// The folder of an import's Secrets.
pub const ENV_IMPORT_SECRETS: &str = "VARVE_IMPORT_SECRETS";
/// The most bytes that a URL may have whose server does not say how many there are.
pub const ENV_IMPORT_MAX_UNANNOUNCED_BYTES: &str = "VARVE_IMPORT_MAX_UNANNOUNCED_BYTES";
/// The shim that `install` copies.
pub const ENV_INSTALL_SHIM: &str = "VARVE_INSTALL_SHIM";
/// The shim's own begin so, and never reach the user's code: `SOCKET`, `OUT` and `CGROUP` are places,
/// `FIRST_CONTACT_MS`, `REFUSED_MS`, `GRACE_MS` and `STOP_DEADLINE_MS` waits.
pub const SHIM_PREFIX: &str = "VARVE_SHIM_";

/// Now, Unix time in nanoseconds.
pub(crate) fn unix_ns() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
