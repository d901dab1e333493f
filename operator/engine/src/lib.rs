//! Pure decisions: inputs to datums to plan to merge; desired child objects; conditions.
//!
//! Nothing here has a client, a clock, randomness or a task. A module takes facts and says what follows; where it
//! cannot know beforehand which facts it needs (a merge, a Commit's changes), it answers with the list of what is
//! missing and is asked again. So every decision can be made twice, and every test is a table of facts.
//!
//! - [`inputs`], [`glob`], [`matches`], [`datums`]: what a Job works on.
//! - [`circle`]: Pipelines that would set each other off for ever.
//! - [`trigger`]: which input Commits go together, and when.
//! - [`config`]: the ConfigMaps that a Job reads, kept as they were.
//! - [`plan`]: what decides a datum's result, and how datums are cut into shards.
//! - [`merge`]: datums' outputs to one commit's maps.
//! - [`commit`]: what a Commit asks for.
//! - [`pod`]: the batch Jobs that do the work.
//! - [`explain`]: what users read when pods do not get on.

pub mod circle;
pub mod commit;
pub mod config;
pub mod datums;
pub mod explain;
pub mod glob;
pub mod inputs;
pub mod matches;
pub mod merge;
pub mod object;
pub mod plan;
pub mod pod;
pub mod trigger;

pub use object::Object;
