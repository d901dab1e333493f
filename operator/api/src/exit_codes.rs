//! Exit codes of Varve's own programs: the one table.
//!
//! | code | who | means | what Kubernetes is told |
//! |---|---|---|---|
//! | 0 | keeper | every datum of the shard is recorded | the index is done |
//! | 40 | keeper | this shard can never proceed | `FailIndex` |
//! | 41 | keeper | the Job can never proceed | `FailJob` |
//! | 43 | shim | the keeper is gone | the pod failed |
//! | 44 | keeper | the shim is gone | the pod failed |
//! | 75 | keeper | stopped with work left | `Ignore` |

/// The keeper: this shard can never proceed.
pub const SHARD_CANNOT_PROCEED: i32 = 40;
/// The keeper: the Job can never proceed.
pub const JOB_CANNOT_PROCEED: i32 = 41;
/// The shim: the keeper went away without a word.
pub const SHIM_LOST_KEEPER: i32 = 43;
/// The keeper: the shim went away without a word.
pub const KEEPER_LOST_SHIM: i32 = 44;
/// The keeper: stopped with work left (`EX_TEMPFAIL`).
pub const STOPPED: i32 = 75;
