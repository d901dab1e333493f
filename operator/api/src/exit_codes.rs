//! Exit codes of Varve's own programs: the one table, from which `docs/reference/exit-codes.md` is written.
//!
//! The pod failure policy of a Job's batch Jobs stands on them; a failed datum is a recorded result and no exit code.

/// The keeper: every datum of the shard is recorded.
pub const DONE: i32 = 0;
/// The keeper: this shard can never proceed.
pub const SHARD_CANNOT_PROCEED: i32 = 40;
/// The keeper: the Job can never proceed.
pub const JOB_CANNOT_PROCEED: i32 = 41;
/// The shim: the keeper went away without a word.
pub const SHIM_LOST_KEEPER: i32 = 43;
/// The keeper: the shim went away without a word.
pub const KEEPER_LOST_SHIM: i32 = 44;
/// Keeper and shim: stopped with work left (`EX_TEMPFAIL`).
pub const STOPPED: i32 = 75;
/// None of our programs': a container's main process was killed (128 + `SIGKILL`), as the kernel does for memory.
pub const KILLED: i32 = 137;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode {
    /// The code.
    pub code: i32,
    /// Whose container ends with it: `keeper`, `user` (where the shim is process 1), `import`.
    pub containers: &'static [&'static str],
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// What comes of it.
    pub consequence: &'static str,
}

/// Every exit code.
pub const ALL: &[ExitCode] = &[
    ExitCode {
        code: DONE,
        containers: &["keeper", "user", "import"],
        meaning: "Every datum of the shard is recorded, or everything is fetched.",
        consequence: "The pod has succeeded.",
    },
    ExitCode {
        code: SHARD_CANNOT_PROCEED,
        containers: &["keeper"],
        meaning: "This shard can never proceed: an input of it can't be read.",
        consequence: "`FailIndex`: the other shards go on, then the Job fails (`ShardFailed`).",
    },
    ExitCode {
        code: JOB_CANNOT_PROCEED,
        containers: &["keeper", "import"],
        meaning: "No shard of the Job can proceed, or the Commit's source can never be fetched.",
        consequence: "`FailJob`: no further pod is started.",
    },
    ExitCode {
        code: SHIM_LOST_KEEPER,
        containers: &["user"],
        meaning: "The keeper never answered, or went away without a word.",
        consequence: "The pod has failed; another takes up what is left. It is not started again in place.",
    },
    ExitCode {
        code: KEEPER_LOST_SHIM,
        containers: &["keeper"],
        meaning: "The user's container went away without a word, as one killed for its memory does, and did not come back.",
        consequence: "The datum in hand has used up a try; another pod takes up what is left.",
    },
    ExitCode {
        code: STOPPED,
        containers: &["keeper", "user", "import"],
        meaning: "Stopped with work left, or the store or the pod's disk failed for too long.",
        consequence: "`Ignore`: it counts as nobody's failure; another pod takes up what is left.",
    },
    ExitCode {
        code: KILLED,
        containers: &["user"],
        meaning: "Killed with all that ran in it, most likely for lack of memory.",
        consequence: "The datum in hand has used up a try. Where the cluster has container restart rules the container \
                      starts again in its pod; else the keeper ends with 44.",
    },
];
