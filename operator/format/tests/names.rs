//! What may be a name, a path, a branch, and what the refusals say.

use anyhow::Result;
use proptest::prelude::*;
use varve_format::{BranchName, CommitName, MapKind, NameError, RepoName, RepoPath, escape, name::check_name};

fn refusal<T: std::fmt::Debug>(result: Result<T, NameError>) -> String {
    result.expect_err("it must be refused").to_string()
}

#[test]
fn a_name_is_1_to_255_bytes_and_kept_as_it_is() -> Result<()> {
    for name in ["a", "é", "e\u{301}", "line\nfeed", "\u{7f}", "...", "-", " ", &"n".repeat(255)] {
        assert_eq!(check_name(name.as_bytes())?, name);
    }
    assert_eq!(refusal(check_name(b"")), "name `` has an empty part: it may not hold `//`, nor begin or end with `/`");
    assert_eq!(refusal(check_name(b"..")), "name `..` may not hold the name `.` or `..`");
    assert_eq!(refusal(check_name(b"a\0b")), "name `a\\u{0}b` may not hold a NUL byte");
    assert_eq!(refusal(check_name(b"a/b")), "name `a/b` may not hold `/`");
    assert_eq!(refusal(check_name(b"a\xff")), "name `a\\xff` must be valid UTF-8");
    assert!(refusal(check_name("é".repeat(128).as_bytes())).ends_with("has 256 bytes and may have at most 255"));
    Ok(())
}

#[test]
fn a_path_in_a_cr_has_exactly_one_leading_slash() -> Result<()> {
    assert_eq!(RepoPath::parse_absolute("/a/b")?.as_str(), "a/b");
    assert_eq!(RepoPath::parse_absolute("/")?, RepoPath::ROOT);
    assert_eq!(refusal(RepoPath::parse_absolute("a")), "path `a` must begin with exactly one `/`");
    assert_eq!(refusal(RepoPath::parse_absolute("//a")), "path `//a` must begin with exactly one `/`");
    for wrong in ["/a//b", "/a/", "/a/../b", "/./a", "/a\0"] {
        let said = refusal(RepoPath::parse_absolute(wrong));
        assert!(said.contains("path `"), "{said}");
    }
    Ok(())
}

#[test]
fn a_path_has_at_most_4096_bytes_a_directory_with_its_slash() -> Result<()> {
    let longest = vec!["p".repeat(255); 16].join("/");
    assert_eq!(longest.len(), 4095);
    let directory = RepoPath::parse(&longest)?;
    directory.check_directory()?;
    assert!(directory.join("x").is_err());

    let file = RepoPath::parse(&(vec!["p".repeat(255); 15].join("/") + "/" + &"q".repeat(254) + "/r"))?;
    assert_eq!(file.as_str().len(), 4096);
    assert!(refusal(file.check_directory()).ends_with("has 4097 bytes and may have at most 4096"));
    assert!(RepoPath::parse(&(file.as_str().to_owned() + "s")).is_err());
    Ok(())
}

#[test]
fn control_characters_are_shown_escaped() -> Result<()> {
    let path = RepoPath::parse("a\n\u{1b}[31m/\u{202e}gnp.é\\")?;
    assert_eq!(path.to_string(), "/a\\n\\u{1b}[31m/\\u{202e}gnp.é\\\\");
    assert_eq!(escape("x".repeat(300).as_bytes()), "x".repeat(200) + "…");
    Ok(())
}

#[test]
fn branches_are_dns_like_and_no_uuid() -> Result<()> {
    for good in ["main", "a", "0", "v1.2-rc.1", "a..b", &"b".repeat(63)] {
        assert_eq!(BranchName::parse(good)?.as_str(), good);
    }
    for bad in ["", "Main", "-a", "a-", ".a", "a.", "a_b", "a/b", "é", "_memo", &"b".repeat(64)] {
        assert!(BranchName::parse(bad).is_err(), "{bad}");
    }
    let uuid = "018bcfe5-6801-7123-89ab-0123456789ac";
    assert_eq!(refusal(BranchName::parse(uuid)), format!("branch `{uuid}` may not have the form of a UUID"));
    assert_eq!(BranchName::parse_stored("_memo")?, BranchName::MEMO);
    assert!(BranchName::MEMO.is_hidden());
    Ok(())
}

#[test]
fn commit_and_repo_names_end_at_52_characters() -> Result<()> {
    let (longest, uuid) = ("c".repeat(52), "018bcfe5-6801-7123-89ab-0123456789ac");
    assert_eq!(CommitName::parse(&longest)?.as_str(), longest);
    assert_eq!(RepoName::parse(&longest)?.as_str(), longest);
    assert!(CommitName::parse(&(longest.clone() + "c")).is_err());
    assert!(RepoName::parse(&(longest + "c")).is_err());
    assert!(CommitName::parse(uuid).is_err());
    assert_eq!(
        refusal(RepoName::parse("Images")),
        "repo name `Images` must be 1 to 52 of a-z, 0-9, `.` and `-`, beginning and ending in a letter or digit"
    );
    Ok(())
}

#[test]
fn map_kinds_have_1_to_32_characters() -> Result<()> {
    assert!(MapKind::parse("tree")?.is_tree());
    assert!(!MapKind::parse("datums")?.is_tree());
    assert!(MapKind::parse(&"k".repeat(32)).is_ok());
    for bad in ["", "Tree", "a.b", &"k".repeat(33)] {
        assert!(MapKind::parse(bad).is_err(), "{bad}");
    }
    Ok(())
}

fn paths() -> impl Strategy<Value = RepoPath> {
    prop::collection::vec("[a-cé\n\\\\]{1,3}", 0..5).prop_map(|names| RepoPath::parse(&names.join("/")).unwrap())
}

proptest! {
    #[test]
    fn a_path_is_its_names(path in paths()) {
        let joined = path.names().try_fold(RepoPath::ROOT, |above, name| above.join(name)).unwrap();
        prop_assert_eq!(&joined, &path);
        let by_parent = path.parent().map(|above| above.join(path.file_name().unwrap()).unwrap());
        prop_assert_eq!(by_parent, (!path.is_root()).then(|| path.clone()));
        prop_assert_eq!(RepoPath::parse_absolute(&format!("/{}", path.as_str())).unwrap(), path);
    }

    #[test]
    fn a_path_below_a_directory_is_found_below_it(top in paths(), below in paths()) {
        let path = top.join_path(&below).unwrap();
        prop_assert!(path.starts_with(&top));
        prop_assert_eq!(path.strip_prefix(&top), Some(below));
        prop_assert_eq!(path.starts_with(&below_sibling(&top)), false);
    }

    #[test]
    fn arbitrary_bytes_are_a_path_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(path) = RepoPath::parse_bytes(&bytes) {
            prop_assert_eq!(path.as_str().as_bytes(), &bytes[..]);
            prop_assert!(path.names().all(|name| check_name(name.as_bytes()).is_ok()));
        }
    }
}

/// A path whose text begins like that of `top` and that is no directory above it.
fn below_sibling(top: &RepoPath) -> RepoPath {
    RepoPath::parse(&(top.as_str().to_owned() + "ab-sibling")).unwrap()
}
