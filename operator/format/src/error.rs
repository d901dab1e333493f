//! What can be wrong with names, bytes and maps: every refusal of this crate, by its cause.
//!
//! None of these is worth a retry: the same input is refused again.

use crate::row::Kind;

/// A name, a path or a key that the format does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing where a name must be: an empty string, `a//b`, a leading or a trailing `/`.
    #[error("{what} `{shown}` has an empty part: it may not hold `//`, nor begin or end with `/`")]
    EmptyPart {
        /// The kind of thing: `path`, `name`, ….
        what: &'static str,
        /// What was given, escaped.
        shown: String,
    },
    /// An absolute path that does not begin with exactly one `/`.
    #[error("path `{shown}` must begin with exactly one `/`")]
    NotAbsolute {
        /// What was given, escaped.
        shown: String,
    },
    /// `.` or `..`.
    #[error("{what} `{shown}` may not hold the name `.` or `..`")]
    Dots {
        /// The kind of thing.
        what: &'static str,
        /// What was given, escaped.
        shown: String,
    },
    /// A NUL byte.
    #[error("{what} `{shown}` may not hold a NUL byte")]
    Nul {
        /// The kind of thing.
        what: &'static str,
        /// What was given, escaped.
        shown: String,
    },
    /// A `/` inside a single name.
    #[error("name `{shown}` may not hold `/`")]
    Slash {
        /// What was given, escaped.
        shown: String,
    },
    /// Bytes that are not UTF-8.
    #[error("{what} `{shown}` must be valid UTF-8")]
    NotUtf8 {
        /// The kind of thing.
        what: &'static str,
        /// What was given, escaped.
        shown: String,
    },
    /// Longer than the format allows.
    #[error("{what} `{shown}` has {length} bytes and may have at most {max}")]
    TooLong {
        /// The kind of thing.
        what: &'static str,
        /// How it begins, escaped.
        shown: String,
        /// Its length in bytes.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A name outside its alphabet.
    #[error("{what} `{shown}` must be {rule}")]
    Pattern {
        /// The kind of thing.
        what: &'static str,
        /// What was given, escaped.
        shown: String,
        /// The rule in words.
        rule: &'static str,
    },
    /// A branch or commit name that looks like a UUID, which uids are told apart by.
    #[error("{what} `{shown}` may not have the form of a UUID")]
    UuidForm {
        /// The kind of thing.
        what: &'static str,
        /// What was given.
        shown: String,
    },
    /// A datum's key is longer than the key of a map may be.
    #[error("the datum's key has {length} bytes and may have at most {max}: shorten the paths or combine fewer inputs")]
    DatumKeyTooLong {
        /// Length of the key in bytes.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what} is cut short: {needed} more bytes needed")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing for the next field.
        needed: usize,
    },
    /// Bytes are left over.
    #[error("{what} is followed by {extra} bytes that do not belong to it")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many bytes are left.
        extra: usize,
    },
    /// A tag, codec, cipher, kind or version that this version does not know.
    #[error("{what} has the unknown {field} {value}: it was written by a later version, or is corrupt")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The name of the field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A declared length beyond the cap. Found before anything is allocated.
    #[error("{what} declares {length} bytes or items, at most {max} are allowed")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// The declared length.
        length: u64,
        /// The cap.
        max: u64,
    },
    /// A checksum that does not match.
    #[error("{what} at offset {offset} is corrupt: its checksum does not match")]
    Checksum {
        /// What was being read.
        what: &'static str,
        /// Where it begins in its object.
        offset: u64,
    },
    /// Not the magic bytes that must stand there.
    #[error("{what} does not carry the magic bytes of a pack")]
    Magic {
        /// What was being read.
        what: &'static str,
    },
    /// Well-formed, and still wrong.
    #[error("{what} is wrong: {why}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl DecodeError {
    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }
}

impl From<NameError> for DecodeError {
    fn from(error: NameError) -> Self {
        Self::Invalid { what: "name", why: error.to_string() }
    }
}

/// Rows that cannot make a node, or a map that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Keys are not in strictly ascending order.
    #[error("key `{shown}` is not greater than the key before it")]
    Order {
        /// The key, escaped.
        shown: String,
    },
    /// A key of no bytes, or beyond the limit.
    #[error("key `{shown}` has {length} bytes, it must have 1 to {max}")]
    KeyLength {
        /// How the key begins, escaped.
        shown: String,
        /// Its length.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A row of a kind that this map does not hold at this level.
    #[error("key `{shown}`: {kind:?} may not stand at level {level} of a `{map}` map")]
    KindHere {
        /// The key, escaped.
        shown: String,
        /// The row's kind.
        kind: Kind,
        /// The node's level.
        level: u8,
        /// The map's kind.
        map: String,
    },
    /// A name that may not be in a tree.
    #[error("key `{shown}`: {source}")]
    Name {
        /// The key, escaped.
        shown: String,
        /// Why not.
        source: NameError,
    },
    /// A directory's key must end in `/`, no other may.
    #[error("key `{shown}`: a directory's key ends in `/`, and no other does")]
    Slash {
        /// The key, escaped.
        shown: String,
    },
    /// `a` and `a/` in one directory.
    #[error("`{shown}` is both a file and a directory")]
    FileAndDirectory {
        /// The name, escaped.
        shown: String,
    },
    /// A directory or a child without a file below it.
    #[error("key `{shown}`: nothing below it, and a directory without files does not exist")]
    Hollow {
        /// The key, escaped.
        shown: String,
    },
    /// A symlink whose target's length is out of bounds.
    #[error("key `{shown}`: a symlink's target has 1 to 4095 bytes, not {length}")]
    TargetLength {
        /// The key, escaped.
        shown: String,
        /// The length given.
        length: u64,
    },
    /// Counts in a map that has none.
    #[error("key `{shown}`: only trees count files and bytes")]
    CountsOutsideTree {
        /// The key, escaped.
        shown: String,
    },
    /// The files or bytes of a node do not fit in 64 bits (`SumOverflow`).
    #[error("the files or bytes below this node do not fit in 64 bits")]
    SumOverflow,
    /// More than sixteen levels (`MapTooDeep`).
    #[error("a map may have the levels 0 to 15, level {level} is beyond")]
    MapTooDeep {
        /// The level asked for.
        level: u8,
    },
    /// A node of an inner level without rows.
    #[error("a node of level {level} has no rows; only level 0 may be empty")]
    EmptyInner {
        /// The node's level.
        level: u8,
    },
}

impl MapError {
    /// The cause as one word of a bounded set, for conditions, events and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SumOverflow => "SumOverflow",
            Self::MapTooDeep { .. } => "MapTooDeep",
            Self::KeyLength { .. } => "KeyLengthInvalid",
            Self::Name { .. } | Self::Slash { .. } => "NameInvalid",
            Self::FileAndDirectory { .. } => "FileAndDirectory",
            _ => "MapInvalid",
        }
    }
}

/// Any refusal of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name, path or key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Bytes that do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Rows that make no map.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// A name as messages show it: control characters and invisible ones escaped, cut after 200 characters.
pub fn escape(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let mut shown = String::new();
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if count == SHOWN {
                shown.push('…');
                return shown;
            }
            count += 1;
            if is_hidden(c) || c == '\\' {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            shown.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    shown
}

/// Control characters, and those that change how their neighbours are shown (bidirectional marks, zero widths).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
