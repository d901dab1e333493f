//! The independent reader, `docs/format/varve_ids.py`, agrees with this crate: on the vectors, on a folder of random
//! files, and on packs.
//!
//! Needs `python3` with pip. What the reader needs is installed once into the user's cache, beside nothing else.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::Value;
use varve_format::reference::{self, File};
use varve_format::{Kind, MapKind, RepoPath};

#[test]
fn the_reader_computes_every_vector() -> Result<()> {
    let files = support::vector_files()?;
    let mut arguments = vec!["check".to_owned()];
    arguments.extend(files.iter().map(|path| path.display().to_string()));
    let said = run_reader(&arguments)?;
    ensure!(said.ends_with("vectors hold\n"), "the reader said {said}");
    Ok(())
}

#[test]
fn the_reader_finds_the_first_vectors() -> Result<()> {
    let first = [
        (0, "157ec17877b075c99614c490dd3602e9034e0f42343f99bae0b9b38ed1fad171"),
        (3, "b56a84819f6259d391c94e8cee013b5c70f844daea865d2e09eae8218f07a7e2"),
        (5, "8aaac56bac29852766abaf53875ada1f81f01ea483290d0b2af620324d4a1173"),
        (1000, "cd5bc35357ffe6662b330bd482e8b5893e65edb6fdadff0a24d2ede92bd0a206"),
    ];
    for (count, wanted) in first {
        let shape: Value = serde_json::from_str(&run_reader(&["flat".to_owned(), count.to_string()])?)?;
        assert_eq!(shape["id"], wanted);
        let (id, _) = reference::map_id(&MapKind::TREE, &support::flat(count, 0, 0))?;
        assert_eq!(id.to_string(), wanted);
    }
    Ok(())
}

#[test]
fn the_reader_and_the_crate_agree_on_random_folders() -> Result<()> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..8 {
        let files = folders().new_tree(&mut runner).map_err(|reason| anyhow::anyhow!("{reason}"))?.current();
        let folder = tempfile::tempdir()?;
        let written = write_folder(folder.path(), &files)?;
        let (id, totals) = reference::tree_id(&written)?;
        let said = run_reader(&["tree".to_owned(), folder.path().display().to_string()])?;
        let shape: Value = serde_json::from_str(&said)?;
        assert_eq!(
            (shape["id"].as_str(), shape["files"].as_u64()),
            (Some(id.to_string().as_str()), Some(totals.files))
        );
    }
    Ok(())
}

#[test]
fn the_reader_refuses_a_pack_with_any_byte_changed() -> Result<()> {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(support::vectors_dir().join("packs.json"))?)?;
    let hex = file["vectors"][2]["given"]["hex"].as_str().context("the pack's bytes")?;
    let pack = hex::decode(hex)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pack");
    let reads = |bytes: &[u8]| -> Result<bool> {
        std::fs::write(&path, bytes)?;
        Ok(run_reader(&["pack".to_owned(), path.display().to_string()]).is_ok())
    };
    assert!(reads(&pack)?);
    // One of each part: magic, format, pack id, a frame's lengths, bytes and checksum, footer, trailer.
    for at in [0, 8, 30, 46, 60, 90, pack.len() - 60, pack.len() - 18, pack.len() - 10, pack.len() - 1] {
        let mut changed = pack.clone();
        changed[at] ^= 0x40;
        assert!(!reads(&changed)?, "byte {at} was changed");
    }
    Ok(())
}

/// Up to 60 files: paths of one to four names out of a few, so that directories fill up, and of any bytes in between.
fn folders() -> impl Strategy<Value = Vec<(Vec<String>, u8, Vec<u8>)>> {
    let few = prop::sample::select(vec!["a", "a.txt", "a0", "b", "B", "é", "line\nfeed", "long-name-long-name"]);
    let name = prop_oneof![4 => few.prop_map(str::to_owned), 1 => "[^/\0]{1,40}"];
    let allowed = name.prop_filter("dots are no names", |name| name != "." && name != "..");
    let path = prop::collection::vec(allowed, 1..5);
    let file = (path, 0_u8..3, prop::collection::vec(any::<u8>(), 0..3000));
    prop::collection::vec(file, 1..60)
}

/// Writes what can be written (a path that is a file cannot be a directory too); returns what now stands there.
fn write_folder(top: &Path, files: &[(Vec<String>, u8, Vec<u8>)]) -> Result<BTreeMap<RepoPath, File>> {
    let mut written = BTreeMap::new();
    for (names, kind, content) in files {
        let names = names.join("/");
        let Ok(path) = RepoPath::parse(&names) else { continue };
        let at = top.join(&names);
        let is_free = at.symlink_metadata().is_err();
        let above = at.parent().context("it stands in the folder")?;
        if !is_free || std::fs::create_dir_all(above).is_err() {
            continue;
        }
        let file = if *kind == 2 {
            symlink("../to/nowhere", &at)?;
            File::of(Kind::Symlink, b"../to/nowhere")
        } else {
            std::fs::write(&at, content)?;
            let is_executable = *kind == 1;
            std::fs::set_permissions(&at, PermissionsExt::from_mode(if is_executable { 0o755 } else { 0o644 }))?;
            File::of(if is_executable { Kind::Executable } else { Kind::File }, content)
        };
        written.insert(path, file);
    }
    Ok(written)
}

/// What the reader prints.
fn run_reader(arguments: &[String]) -> Result<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format");
    let packages = packages(&docs.join("requirements.txt"))?;
    let output = Command::new("python3")
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(docs.join("varve_ids.py"))
        .args(arguments)
        .output()
        .context("run python3: is it installed?")?;
    if !output.status.success() {
        bail!("the reader failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder with the packages that the reader needs, by the hash of what it asks for; installed if it is not there.
fn packages(requirements: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read(requirements)?;
    let python = Command::new("python3").arg("--version").output().context("run python3: is it installed?")?.stdout;
    let key = blake3::hash(&[wanted, python].concat()).to_hex();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let packages = cache.context("HOME is set")?.join("varve").join(format!("reader-{}", &key[..16]));
    if packages.is_dir() {
        return Ok(packages);
    }
    let above = packages.parent().context("it lies in the cache")?;
    std::fs::create_dir_all(above)?;
    let fresh = tempfile::tempdir_in(above)?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(fresh.path())
        .arg("--requirement")
        .arg(requirements)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("install what the reader needs (python3 with pip, Debian's python3-pip, and a package index): {said}");
    }
    // Tests run beside each other; who comes second finds the first's.
    if let Err(error) = std::fs::rename(fresh.path(), &packages)
        && !packages.is_dir()
    {
        return Err(error).context("keep what the reader needs");
    }
    Ok(packages)
}
