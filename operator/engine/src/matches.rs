//! Changes of a tree, looked at through a glob: which matches came, changed or went.
//!
//! A directory's id covers everything below it, so a renamed file inside a directory match is a change of that match
//! by itself. Where the bytes lie is no change. What was a file and is now a directory is another match: its path in
//! a datum's key ends in `/`.

use varve_format::RepoPath;

use crate::glob::Glob;
use crate::object::{Object, is_unchanged};

/// A difference between two trees, at a glob's depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: RepoPath,
    /// What stood there.
    pub before: Option<Object>,
    /// What stands there.
    pub after: Option<Object>,
}

/// Something that a glob matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Where.
    pub path: RepoPath,
    /// What.
    pub object: Object,
}

/// A match that came (`before` is none), went (`after` is none) or changed. Both sides are directories, or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchChange {
    /// Where.
    pub path: RepoPath,
    /// The match as it was.
    pub before: Option<Object>,
    /// The match as it is.
    pub after: Option<Object>,
}

/// What one change means for the matches of `glob`: nothing, one change, or a match that went and another that came.
pub fn changed_match(glob: &Glob, change: Change) -> impl Iterator<Item = MatchChange> + use<> {
    let Change { path, before, after } = change;
    let before = before.filter(|object| glob.matches(&path, object));
    let after = after.filter(|object| glob.matches(&path, object));
    let pieces = match (before, after) {
        (Some(before), Some(after)) if before.is_directory() != after.is_directory() => {
            [(Some(before), None), (None, Some(after))]
        }
        (before, after) => [(before, after), (None, None)],
    };
    pieces
        .into_iter()
        .filter(|(before, after)| !is_unchanged(before.as_ref(), after.as_ref()))
        .map(move |(before, after)| MatchChange { path: path.clone(), before, after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::fixtures::{directory, file};

    fn path(text: &str) -> RepoPath {
        RepoPath::parse_absolute(text).expect("tests write paths that may be")
    }

    fn seen(glob: &str, at: &str, before: Option<Object>, after: Option<Object>) -> Vec<MatchChange> {
        let glob = Glob::parse(glob).expect("tests write globs that may be");
        changed_match(&glob, Change { path: path(at), before, after }).collect()
    }

    #[test]
    fn a_change_that_the_glob_does_not_match_is_no_change() {
        assert_eq!(seen("/*.png", "/a.txt", Some(file("old")), Some(file("new"))), []);
        assert_eq!(seen("/*/*", "/a.png", Some(file("old")), Some(file("new"))), []);
    }

    #[test]
    fn a_directory_whose_id_changed_is_a_changed_match() {
        let (before, after) = (directory("with old name", 3), directory("with new name", 3));
        let expected = MatchChange { path: path("/2026"), before: Some(before.clone()), after: Some(after.clone()) };
        assert_eq!(seen("/*", "/2026", Some(before), Some(after)), [expected]);
    }

    #[test]
    fn a_file_that_becomes_a_directory_goes_and_comes() {
        let (before, after) = (file("was"), directory("is", 2));
        let went = MatchChange { path: path("/a"), before: Some(before.clone()), after: None };
        let came = MatchChange { path: path("/a"), before: None, after: Some(after.clone()) };
        assert_eq!(seen("/*", "/a", Some(before.clone()), Some(after.clone())), [went.clone(), came.clone()]);
        assert_eq!(seen("/*/", "/a", Some(before.clone()), Some(after.clone())), [came]);
        assert_eq!(seen("/**", "/a", Some(before), Some(after)), [went]);
    }

    #[test]
    fn moving_bytes_within_the_store_is_no_change() {
        let before = file("same");
        let after = Object { at: varve_format::Location::Erased, ..before.clone() };
        assert_eq!(seen("/*", "/a", Some(before), Some(after)), []);
    }

    #[test]
    fn a_repo_matched_as_a_whole_comes_with_its_first_file_and_goes_with_its_last() {
        let (empty, full) = (directory("empty", 0), directory("full", 1));
        let came = MatchChange { path: RepoPath::ROOT, before: None, after: Some(full.clone()) };
        assert_eq!(seen("/", "/", Some(empty.clone()), Some(full.clone())), [came]);
        let went = MatchChange { path: RepoPath::ROOT, before: Some(full.clone()), after: None };
        assert_eq!(seen("/", "/", Some(full), Some(empty)), [went]);
    }
}
