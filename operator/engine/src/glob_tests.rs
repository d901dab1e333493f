use proptest::prelude::*;

use super::*;
use crate::object::fixtures::{directory, file};

fn glob(text: &str) -> Glob {
    Glob::parse(text).expect("tests write globs that may be")
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse_absolute(text).expect("tests write paths that may be")
}

fn is_file_match(pattern: &str, at: &str) -> bool {
    glob(pattern).matches(&path(at), &file("content"))
}

fn is_directory_match(pattern: &str, at: &str) -> bool {
    glob(pattern).matches(&path(at), &directory("names", 1))
}

#[test]
fn a_star_stays_within_one_name() {
    for (pattern, at, expected) in [
        ("/*", "/a", true),
        ("/*", "/.hidden", true),
        ("/*", "/a/b", false),
        ("/*/*", "/a/b", true),
        ("/*/*", "/a", false),
        ("/2026/*.png", "/2026/a.png", true),
        ("/2026/*.png", "/2026/a.jpg", false),
        ("/2026/*.png", "/2025/a.png", false),
        ("/a*c", "/ac", true),
        ("/a*c", "/abbc", true),
        ("/a.c", "/abc", false),
    ] {
        assert_eq!(is_file_match(pattern, at), expected, "{pattern} {at}");
    }
}

#[test]
fn question_marks_classes_and_alternatives_work_as_in_globset() {
    for (pattern, at, expected) in [
        ("/?.png", "/é.png", true),
        ("/?.png", "/ab.png", false),
        ("/[a-c]1", "/b1", true),
        ("/[a-c]1", "/d1", false),
        ("/[!a-c]1", "/d1", true),
        ("/[^a-c]1", "/a1", false),
        ("/[]x]", "/]", true),
        ("/[a-]", "/-", true),
        ("/*.{png,jpg}", "/a.jpg", true),
        ("/*.{png,jpg}", "/a.gif", false),
        ("/{a,b{1,2}}", "/b2", true),
        ("/{a,}x", "/x", true),
        (r"/\*", "/*", true),
        (r"/\*", "/a", false),
        (r"/\{a,b\}", "/{a,b}", true),
        ("/a,b", "/a,b", true),
        ("/a}", "/a}", true),
    ] {
        assert_eq!(is_file_match(pattern, at), expected, "{pattern} {at}");
    }
}

#[test]
fn files_and_directories_match_at_their_depth_and_a_final_slash_asks_for_directories() {
    assert!(is_file_match("/*", "/a") && is_directory_match("/*", "/a"));
    assert!(!is_file_match("/*/", "/a") && is_directory_match("/*/", "/a"));
}

#[test]
fn two_stars_match_files_at_any_depth_and_no_directory() {
    for (pattern, at, expected) in [
        ("/**", "/a", true),
        ("/**", "/a/b/c", true),
        ("/a/**", "/a/b/c", true),
        ("/a/**", "/a", false),
        ("/a/**", "/b/c", false),
        ("/**/x.png", "/x.png", true),
        ("/**/x.png", "/a/b/x.png", true),
        ("/**/x.png", "/a/bx.png", false),
        ("/a/**/b/*", "/a/b/c", true),
        ("/a/**/b/*", "/a/1/2/b/c", true),
        ("/a/**/b/*", "/a/1/2/c", false),
    ] {
        assert_eq!(is_file_match(pattern, at), expected, "{pattern} {at}");
        assert!(!is_directory_match(pattern, at), "{pattern} {at}");
    }
}

#[test]
fn the_whole_repo_is_one_match_unless_it_is_empty() {
    let whole = glob("/");
    assert_eq!(whole.depth(), Depth::Exactly(0));
    assert!(whole.matches(&RepoPath::ROOT, &directory("all", 3)));
    assert!(!whole.matches(&RepoPath::ROOT, &directory("all", 0)));
    assert!(!whole.matches(&path("/a"), &file("a")));
    assert!(!whole.may_match_below(&RepoPath::ROOT));
}

#[test]
fn no_wildcard_matches_the_root() {
    for pattern in ["/*", "/**", "/{,a}"] {
        assert!(!glob(pattern).matches(&RepoPath::ROOT, &directory("all", 3)), "{pattern}");
    }
}

#[test]
fn prefix_and_depth_say_where_not_to_look() {
    for (pattern, prefix, depth) in [
        ("/", "/", Depth::Exactly(0)),
        ("/a", "/", Depth::Exactly(1)),
        ("/a/b/*", "/a/b", Depth::Exactly(3)),
        ("/a/*/c/*", "/a", Depth::Exactly(4)),
        ("/a/b/", "/a", Depth::Exactly(2)),
        ("/a/**", "/a", Depth::AnyFile),
        (r"/a\*/*", "/a*", Depth::Exactly(2)),
    ] {
        assert_eq!((glob(pattern).prefix(), glob(pattern).depth()), (path(prefix), depth), "{pattern}");
    }
    let pattern = glob("/20??/*/x");
    assert!(pattern.may_match_below(&path("/2026")) && pattern.may_match_below(&path("/2026/any")));
    assert!(!pattern.may_match_below(&path("/1999")) && !pattern.may_match_below(&path("/2026/any/x")));
}

#[test]
fn a_pattern_that_cannot_be_read_says_what_to_write() {
    for (pattern, said) in [
        ("a/*", "`a/*` must begin with `/`, as every path does: write `/a/*`"),
        ("/a//b", "`/a//b`: `//` names nothing: put one `/` between two names"),
        ("/a/../b", "`/a/../b`: `.` and `..` may not be names: write the path from the repo's root"),
        ("/a**", "`/a**`: `**` must stand alone between slashes, as in /a/**/b: within a name write `*`"),
        (
            "/{a/b,c}",
            "`/{a/b,c}`: `{` has no end within its name: close it before the next `/`, or write `\\{` to mean the character",
        ),
        (
            "/[a",
            "`/[a`: `[` has no end within its name: close it before the next `/`, or write `\\[` to mean the character",
        ),
        ("/a)", "`/a)`: `)` has no beginning: write `\\)` to mean the character"),
        ("/[z-a]", "`/[z-a]`: the range z-a runs backwards: write a-z"),
    ] {
        assert_eq!(Glob::parse(pattern).expect_err(pattern).to_string(), said);
    }
    assert!(Glob::parse("/**/").is_err() && Glob::parse("//").is_err() && Glob::parse("").is_err());
}

proptest! {
    #[test]
    fn no_pattern_makes_the_parser_panic(text in "[/a-c*?\\[\\]{}(),!^\\\\.-]{0,24}") {
        let _ = Glob::parse(&format!("/{text}"));
    }

    #[test]
    fn what_matches_lies_where_prefix_depth_and_pruning_say(
        pattern in "(/(a|b|\\*|\\?|\\*\\*|\\[ab\\])){1,4}",
        at in "(/(a|b|ab)){1,5}",
    ) {
        let (glob, at) = (glob(&pattern), path(&at));
        if glob.matches(&at, &file("x")) {
            let directory = at.parent().unwrap_or_default();
            prop_assert!(directory.starts_with(&glob.prefix()));
            prop_assert!(glob.may_match_below(&directory));
            if let Depth::Exactly(depth) = glob.depth() {
                prop_assert_eq!(at.names().count(), depth);
            }
        }
    }

    #[test]
    fn a_plain_path_matches_itself_alone(at in "(/[a-z .,()-]{1,6}){1,3}", other in "(/[a-z .,()-]{1,6}){1,3}") {
        prop_assume!(!at.contains(['(', ')']));
        if let (Ok(at), Ok(other), Ok(glob)) =
            (RepoPath::parse_absolute(&at), RepoPath::parse_absolute(&other), Glob::parse(&at))
        {
            prop_assert!(glob.matches(&at, &file("x")));
            prop_assert_eq!(glob.matches(&other, &file("x")), at == other);
        }
    }
}
