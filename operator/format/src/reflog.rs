//! A branch's head, and the text of its reflog entry: the same facts, so that an entry can be written again from the
//! head that `Repo.status` holds, byte for byte.

use std::str::FromStr;

use uuid::Uuid;

use crate::error::DecodeError;
use crate::hash::{Domain, Hash};
use crate::name::BranchName;

/// Where a record lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordAt {
    /// The metadata pack.
    pub pack: Uuid,
    /// Offset of the record's first frame.
    pub offset: u64,
    /// Bytes from there to the end of its last frame.
    pub length: u64,
}

/// The head of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    /// The store's uid of the repo.
    pub repo: Uuid,
    /// The branch.
    pub branch: BranchName,
    /// The commit's place in the branch, from 1.
    pub seq: u64,
    /// The commit's uid.
    pub commit: Uuid,
    /// Its seal.
    pub seal: Hash,
    /// Where its record lies.
    pub record: RecordAt,
    /// When the head moved here, in nanoseconds since 1970 UTC.
    pub time_ns: i64,
    /// The hash of the entry before; zeros in the first.
    pub previous: Hash,
    /// Whether the branch was deleted here; commit, seal and record are then those of its last head.
    pub is_deleted: bool,
}

const FIRST_LINE: &str = "varve-reflog 1";

impl Head {
    /// The entry's text: a `key value` a line.
    pub fn to_text(&self) -> String {
        let Self { repo, branch, seq, commit, seal, record, time_ns, previous, is_deleted } = self;
        let RecordAt { pack, offset, length } = record;
        let deleted = if *is_deleted { "deleted true\n" } else { "" };
        format!(
            "{FIRST_LINE}\nrepo {repo}\nbranch {branch}\nseq {seq}\ncommit {commit}\nseal {seal}\n\
             record {pack} {offset} {length}\ntime {time_ns}\nprevious {previous}\n{deleted}"
        )
    }

    /// The entry's hash.
    pub fn hash(&self) -> Hash {
        Domain::Reflog.hash(self.to_text().as_bytes())
    }

    /// Reads an entry. Only the very bytes that [`Head::to_text`] writes are taken: another spelling of the same
    /// facts would have another hash.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let mut lines = text.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(wrong("it must begin with `varve-reflog 1`"));
        }
        let head = Self {
            repo: value(lines.next(), "repo")?,
            branch: BranchName::parse_stored(text_value(lines.next(), "branch")?)?,
            seq: value(lines.next(), "seq")?,
            commit: value(lines.next(), "commit")?,
            seal: value(lines.next(), "seal")?,
            record: parse_record(text_value(lines.next(), "record")?)?,
            time_ns: value(lines.next(), "time")?,
            previous: value(lines.next(), "previous")?,
            is_deleted: lines.next() == Some("deleted true"),
        };
        if head.seq == 0 {
            return Err(wrong("seq counts from 1"));
        }
        if head.to_text() != text {
            return Err(wrong("it is not spelled as entries are: one `key value` a line, and nothing else"));
        }
        Ok(head)
    }
}

fn wrong(why: impl Into<String>) -> DecodeError {
    DecodeError::invalid("reflog entry", why)
}

fn text_value<'a>(line: Option<&'a str>, key: &str) -> Result<&'a str, DecodeError> {
    let value = line.and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.ok_or_else(|| wrong(format!("the line `{key}` is missing")))
}

fn value<T: FromStr>(line: Option<&str>, key: &str) -> Result<T, DecodeError> {
    text_value(line, key)?.parse().map_err(|_| wrong(format!("the value of `{key}` is malformed")))
}

fn parse_record(text: &str) -> Result<RecordAt, DecodeError> {
    let mut parts = text.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let malformed = || wrong("`record` must be a pack, an offset and a length");
    Ok(RecordAt {
        pack: next().parse().map_err(|_| malformed())?,
        offset: next().parse().map_err(|_| malformed())?,
        length: next().parse().map_err(|_| malformed())?,
    })
}
