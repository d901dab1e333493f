//! The pod's own programs: the shim that runs user code and the keeper that moves its data.
//!
//! - [`shim`]: PID 1 of the user's container. Synchronous and small; holds no store access.
//! - [`keeper`]: our container beside it. Stages inputs, collects outputs, records results;
//!   alone holds store access.
//! - [`import`]: the program of a Commit's import pod; fetches what is named from outside.
//! - [`install`]: the init container; lays out the shared volume and copies the shim into it.
//! - [`pod`]: where these programs find things, for whoever runs them elsewhere than in a pod.
//! - [`protocol`]: what shim and keeper say to each other over their one stream.

pub mod import;
pub mod install;
pub mod keeper;
pub mod pod;
pub mod protocol;
pub mod shim;
pub mod termination;

/// One of the exit codes of `varve_api::exit_codes`, as a process returns it.
pub(crate) fn exit_status(code: i32) -> std::process::ExitCode {
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
