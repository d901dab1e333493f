//! Names of files, paths within a commit, and the names of branches, commits, repos and maps.
//!
//! A name of a file is what a file system would take: bytes of UTF-8, kept as they are, compared as bytes. Names
//! that become parts of object keys have small alphabets instead. Parsed once at the edge, typed from there on.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;

use crate::error::{NameError, escape};

/// The longest name of a file or directory, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest path, in bytes, counted from the commit's root, a directory's `/` included.
pub const MAX_PATH: usize = 4096;
/// The longest target of a symlink, in bytes.
pub const MAX_TARGET: u64 = 4095;
/// The longest key of any map, in bytes: beyond, a level might not shrink.
pub const MAX_KEY: usize = 8127;

/// Checks one name of a file or directory.
pub fn check_name(name: &[u8]) -> Result<&str, NameError> {
    check_part("name", name, name)
}

/// Checks one part of `whole`, which is what errors show.
fn check_part<'a>(what: &'static str, part: &'a [u8], whole: &[u8]) -> Result<&'a str, NameError> {
    let shown = || escape(whole);
    let text = std::str::from_utf8(part).map_err(|_| NameError::NotUtf8 { what, shown: shown() })?;
    match part {
        b"" => return Err(NameError::EmptyPart { what, shown: shown() }),
        b"." | b".." => return Err(NameError::Dots { what, shown: shown() }),
        _ => {}
    }
    if part.len() > MAX_NAME {
        return Err(NameError::TooLong { what: "name", shown: escape(part), length: part.len(), max: MAX_NAME });
    }
    for byte in part {
        match byte {
            0 => return Err(NameError::Nul { what, shown: shown() }),
            b'/' => return Err(NameError::Slash { shown: shown() }),
            _ => {}
        }
    }
    Ok(text)
}

/// Checks that a file may stand at this path: anywhere but at the root.
pub(crate) fn check_file_path(path: &RepoPath) -> Result<(), NameError> {
    if path.is_root() {
        return Err(NameError::EmptyPart { what: "path", shown: String::new() });
    }
    Ok(())
}

/// A path within a commit, as it is stored: names joined by `/`, none leading, none trailing; the empty path is the
/// root. Ordered by bytes.
///
/// Whether it names a file or a directory is not part of it: [`RepoPath::check_directory`] checks the one more byte
/// that a directory's path takes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RepoPath(String);

impl RepoPath {
    /// The root of a commit.
    pub const ROOT: Self = Self(String::new());

    /// Reads the stored form, `a/b`; the empty string is the root.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Self::parse_bytes(text.as_bytes())
    }

    /// Reads the stored form from bytes that may not be UTF-8.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Ok(Self::ROOT);
        }
        if bytes.len() > MAX_PATH {
            let shown = escape(bytes);
            return Err(NameError::TooLong { what: "path", shown, length: bytes.len(), max: MAX_PATH });
        }
        for part in bytes.split(|byte| *byte == b'/') {
            check_part("path", part, bytes)?;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8 { what: "path", shown: escape(bytes) })?;
        Ok(Self(text.to_owned()))
    }

    /// Reads the form that users write, `/a/b`, with exactly one leading `/`; `/` is the root.
    pub fn parse_absolute(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => Self::parse(rest),
            _ => Err(NameError::NotAbsolute { shown: escape(text.as_bytes()) }),
        }
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the commit's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its names, from the root down; none for the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name, none for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The directory this stands in, none for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            Some(at) => Some(Self(self.0[..at].to_owned())),
            None if self.is_root() => None,
            None => Some(Self::ROOT),
        }
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: &str) -> Result<Self, NameError> {
        check_name(name.as_bytes())?;
        self.join_path(&Self(name.to_owned()))
    }

    /// The path of `below`, counted from this directory.
    pub fn join_path(&self, below: &Self) -> Result<Self, NameError> {
        let joined = match (self.is_root(), below.is_root()) {
            (true, _) => below.0.clone(),
            (_, true) => self.0.clone(),
            _ => format!("{}/{}", self.0, below.0),
        };
        if joined.len() > MAX_PATH {
            let shown = escape(joined.as_bytes());
            return Err(NameError::TooLong { what: "path", shown, length: joined.len(), max: MAX_PATH });
        }
        Ok(Self(joined))
    }

    /// The path seen from `directory`, if it lies in it or is it.
    pub fn strip_prefix(&self, directory: &Self) -> Option<Self> {
        if directory.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(directory.as_str())?;
        if rest.is_empty() {
            return Some(Self::ROOT);
        }
        rest.strip_prefix('/').map(|rest| Self(rest.to_owned()))
    }

    /// Whether this is `directory` or lies below it.
    pub fn starts_with(&self, directory: &Self) -> bool {
        let rest = self.0.strip_prefix(directory.as_str());
        directory.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path with a directory's `/`, as keys and globs see it; empty for the root.
    pub fn as_directory(&self) -> String {
        if self.is_root() { String::new() } else { format!("{}/", self.0) }
    }

    /// Checks that a directory may stand here: its path counts one byte more.
    pub fn check_directory(&self) -> Result<(), NameError> {
        if self.0.len() < MAX_PATH {
            return Ok(());
        }
        let shown = escape(self.0.as_bytes());
        Err(NameError::TooLong { what: "path", shown, length: self.0.len() + 1, max: MAX_PATH })
    }
}

impl fmt::Display for RepoPath {
    /// The absolute form, control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", escape(self.0.as_bytes()))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl AsRef<str> for RepoPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One to `max` of `[a-z0-9.-]`, beginning and ending in a letter or digit.
fn is_dns_like(text: &str, max: usize) -> bool {
    let is_alnum = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    (1..=max).contains(&bytes.len())
        && bytes.iter().all(|b| is_alnum(b) || matches!(b, b'.' | b'-'))
        && bytes.first().is_some_and(is_alnum)
        && bytes.last().is_some_and(is_alnum)
}

/// Whether a text has the hyphenated form of a UUID.
pub fn has_uuid_form(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// The parts that every typed name has in common.
macro_rules! name_type {
    ($type:ident) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The name of a branch: `[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?`, not of a UUID's form; or the hidden `_memo`, which
/// no user can write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(Cow<'static, str>);

impl BranchName {
    /// The hidden branch that holds a repo's memo.
    pub const MEMO: Self = Self(Cow::Borrowed("_memo"));

    /// Reads a user's branch name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (what, shown) = ("branch", escape(text.as_bytes()));
        if !is_dns_like(text, 63) {
            let rule = "1 to 63 of a-z, 0-9, `.` and `-`, beginning and ending in a letter or digit";
            return Err(NameError::Pattern { what, shown, rule });
        }
        if has_uuid_form(text) {
            return Err(NameError::UuidForm { what, shown });
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// Reads a branch name from the store, where the hidden branch may stand too.
    pub fn parse_stored(text: &str) -> Result<Self, NameError> {
        if text == Self::MEMO.as_str() { Ok(Self::MEMO) } else { Self::parse(text) }
    }

    /// Whether this is a branch that users do not see.
    pub fn is_hidden(&self) -> bool {
        *self == Self::MEMO
    }
}
name_type!(BranchName);

/// The name of a Commit: 1 to 52 of `[a-z0-9.-]`, not of a UUID's form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitName(String);

impl CommitName {
    /// Reads a Commit's name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (what, shown) = ("commit name", escape(text.as_bytes()));
        if !is_dns_like(text, 52) {
            return Err(NameError::Pattern { what, shown, rule: NAME_RULE });
        }
        if has_uuid_form(text) {
            return Err(NameError::UuidForm { what, shown });
        }
        Ok(Self(text.to_owned()))
    }
}
name_type!(CommitName);

/// The name of a Repo: 1 to 52 of `[a-z0-9.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(String);

impl RepoName {
    /// Reads a Repo's name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_dns_like(text, 52) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError::Pattern { what: "repo name", shown: escape(text.as_bytes()), rule: NAME_RULE })
    }
}
name_type!(RepoName);

const NAME_RULE: &str = "1 to 52 of a-z, 0-9, `.` and `-`, beginning and ending in a letter or digit";

/// The kind of a commit's map: 1 to 32 of `[a-z0-9-]`. Every directory is `tree`, and nothing else is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapKind(Cow<'static, str>);

impl MapKind {
    /// Directories.
    pub const TREE: Self = Self(Cow::Borrowed("tree"));
    /// Which datum wrote what.
    pub const PROV: Self = Self(Cow::Borrowed("prov"));
    /// Datum key to result.
    pub const DATUMS: Self = Self(Cow::Borrowed("datums"));
    /// The segments of a memo, on the hidden branch.
    pub const MEMO: Self = Self(Cow::Borrowed("memo"));

    /// Reads the kind of a map.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let all_allowed = bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !(1..=32).contains(&bytes.len()) || !all_allowed {
            let rule = "1 to 32 of a-z, 0-9 and `-`";
            return Err(NameError::Pattern { what: "map kind", shown: escape(bytes), rule });
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// Whether this is a directory's map, which counts files and bytes.
    pub fn is_tree(&self) -> bool {
        *self == Self::TREE
    }
}
name_type!(MapKind);
