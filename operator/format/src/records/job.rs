//! What a Job leaves behind: its full record, and its share of the memo.

use prost::Message;

use super::{ContentRef, NodeRef};
use crate::error::DecodeError;
use crate::hash::Hash;
use crate::wire;

/// The full record of a Job.
#[derive(Clone, PartialEq, Message)]
pub struct JobRecord {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The Job's uid.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// The Job's name.
    #[prost(string, tag = "3")]
    pub job_name: String,
    /// Name of the Pipeline.
    #[prost(string, tag = "4")]
    pub pipeline: String,
    /// The spec digest.
    #[prost(bytes = "vec", tag = "5")]
    pub spec_digest: Vec<u8>,
    /// When the Job began, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "6")]
    pub started_ns: i64,
    /// When the Job ended, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "7")]
    pub ended_ns: i64,
    /// Every datum that was not carried over unchanged, sorted by key.
    #[prost(message, repeated, tag = "8")]
    pub datums: Vec<JobDatum>,
    /// How many datums the Job's inputs make in all, those carried over unchanged included.
    #[prost(uint64, tag = "9")]
    pub total: u64,
}

/// How a Job came by a datum's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DatumOrigin {
    /// Not set: refused.
    Unspecified = 0,
    /// It ran.
    Processed = 1,
    /// The memo had it.
    Memo = 2,
    /// It ran and failed.
    Failed = 3,
}

/// A datum in a Job's record.
#[derive(Clone, PartialEq, Message)]
pub struct JobDatum {
    /// Bytes of its key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Its hash.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// How the Job came by its result.
    #[prost(enumeration = "DatumOrigin", tag = "3")]
    pub origin: i32,
    /// Tries used.
    #[prost(uint32, tag = "4")]
    pub tries: u32,
    /// The node it ran on.
    #[prost(string, tag = "5")]
    pub node: String,
    /// The devices it had.
    #[prost(string, repeated, tag = "6")]
    pub devices: Vec<String>,
    /// When it began, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "7")]
    pub started_ns: i64,
    /// When it ended, in nanoseconds since 1970 UTC.
    #[prost(sint64, tag = "8")]
    pub ended_ns: i64,
    /// What it printed.
    #[prost(message, optional, tag = "9")]
    pub log: Option<ContentRef>,
    /// The command's exit code, if it exited.
    #[prost(sint32, optional, tag = "10")]
    pub exit_code: Option<i32>,
    /// Why it failed; empty on success.
    #[prost(string, tag = "11")]
    pub reason: String,
}

/// A result that the memo keeps.
#[derive(Clone, PartialEq, Message)]
pub struct MemoEntry {
    /// The datum's hash.
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    /// How it ended, as in `datums`: 1 succeeded, 2 recovered.
    #[prost(uint32, tag = "2")]
    pub state: u32,
    /// Its output tree.
    #[prost(message, optional, tag = "3")]
    pub output: Option<NodeRef>,
    /// What it printed.
    #[prost(message, optional, tag = "4")]
    pub log: Option<ContentRef>,
}

/// A run of a memo segment's entries that is read at once.
#[derive(Clone, PartialEq, Message)]
pub struct MemoBlock {
    /// Entries, sorted by hash.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<MemoEntry>,
}

/// A memo segment: its blocks, by the first hash of each.
#[derive(Clone, PartialEq, Message)]
pub struct MemoSegment {
    /// The record's version, 1.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The Job that it was written for; empty for one that was merged from several.
    #[prost(bytes = "vec", tag = "2")]
    pub job_uid: Vec<u8>,
    /// Number of entries.
    #[prost(uint64, tag = "3")]
    pub entries: u64,
    /// Its blocks, sorted.
    #[prost(message, repeated, tag = "4")]
    pub blocks: Vec<MemoBlockRef>,
    /// The blocks one after the other as one content, whose index says where each lies; none where there is only one.
    #[prost(message, optional, tag = "5")]
    pub whole: Option<ContentRef>,
}

/// Where a block of a memo segment lies.
#[derive(Clone, PartialEq, Message)]
pub struct MemoBlockRef {
    /// Hash of its first entry.
    #[prost(bytes = "vec", tag = "1")]
    pub first: Vec<u8>,
    /// The block.
    #[prost(message, optional, tag = "2")]
    pub block: Option<ContentRef>,
}

/// The tag of [`JobRecord::total`], field 9 as a varint.
const TOTAL_TAG: u8 = 9 << 3;

impl JobRecord {
    /// Bytes at the end of a record that hold its total.
    pub const TOTAL_BYTES: u64 = 11;

    /// The total of a record by its last bytes, so that nobody need read all datums for one number.
    ///
    /// Fields are written in the order of their numbers and the total has the highest, so a record ends in its tag and
    /// a varint, of which only the last byte is below 128. None where it ends in something else: a total of 0 is not
    /// written, and a later version may add fields. Then the whole record says it.
    pub fn total_at_end(end: &[u8]) -> Option<u64> {
        let (&last, before) = end.split_last().filter(|(last, _)| **last < 0x80)?;
        let start = before.iter().rposition(|byte| *byte < 0x80)?;
        if before[start] != TOTAL_TAG {
            return None;
        }
        let groups = before[start + 1..].iter().chain([&last]);
        groups.rev().try_fold(0_u64, |total, group| {
            let shifted = total.checked_mul(0x80)?;
            shifted.checked_add(u64::from(group & 0x7f))
        })
    }
}

impl MemoEntry {
    /// Its datum's hash.
    pub fn hash(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.hash, "memo entry hash")
    }
}

impl MemoBlockRef {
    /// The hash of its first entry.
    pub fn first(&self) -> Result<Hash, DecodeError> {
        wire::hash(&self.first, "memo block first hash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total_of(record: &JobRecord) -> Option<u64> {
        let bytes = record.encode_to_vec();
        let tail = bytes.len().saturating_sub(usize::try_from(JobRecord::TOTAL_BYTES).expect("11"));
        JobRecord::total_at_end(&bytes[tail..])
    }

    #[test]
    fn a_record_ends_in_its_total() {
        for total in [1, 72, 127, 128, 9288, 1 << 21, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            let datums = vec![JobDatum { key: vec![TOTAL_TAG; 40], reason: "H".repeat(9), ..JobDatum::default() }];
            assert_eq!(total_of(&JobRecord { ended_ns: 1 << 60, datums, total, ..JobRecord::default() }), Some(total));
        }
    }

    #[test]
    fn a_record_that_does_not_say_its_total_is_not_guessed_at() {
        assert_eq!(total_of(&JobRecord { ended_ns: 1_700_000_000_000_000_000, ..JobRecord::default() }), None);
        assert_eq!(JobRecord::total_at_end(&[]), None);
        assert_eq!(JobRecord::total_at_end(&[TOTAL_TAG, 0x80]), None);
    }
}
