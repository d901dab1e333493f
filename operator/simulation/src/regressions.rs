//! The lives in which bugs of Varve's own code were found, by the name of the bug.
//!
//! A seed meets its bug for as long as the code round it takes the same turns; afterwards it is a life like any other.
//! Where a bug could be cornered there is a test of that code beside it, which is the one to trust.

/// A life that found a bug.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// What was wrong.
    pub bug: &'static str,
    /// The life.
    pub seed: u64,
}

const fn found(bug: &'static str, seed: u64) -> Regression {
    Regression { bug, seed }
}

/// All of them, the oldest first.
pub const REGRESSIONS: &[Regression] = &[
    found("a head that was passed on was forgotten before the cache showed it, and planned without", 165),
    found("the same, at the head of the memo", 103),
    found("a second Job for the same inputs, beside one that a lagging cache did not show for ten seconds", 342),
    found("a second batch Job beside one that a lagging cache did not show for ten seconds", 923),
    found("a head of the memo that was not written down when its Job ended went with its Repo", 1251),
    found("a Job's end was overwritten by the failure to delete its batch Job", 1991),
    found("a replica that had just come to lead planned against a Repo of an earlier day", 128),
    found("the same, later in a life", 875),
    found("what the pods of a batch Job had recorded that was over when it was first seen was not read", 1541),
    found(
        "a Commit that was ready was told to have failed, by who saw an earlier day of it, and nothing ran on it",
        1951,
    ),
    found("a status written each second while a lagging cache showed none", 718),
    found(
        "a Commit's name stood without its entry in the reflog, and it was told to have landed in a Repo made anew",
        8731,
    ),
];
