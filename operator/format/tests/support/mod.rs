//! What the tests of the format share.
#![allow(dead_code, reason = "each test that takes this module in needs a part of it")]

use std::path::PathBuf;

use varve_format::{Hash, Kind, Row};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The folder of the committed vectors.
pub(crate) fn vectors_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Every committed file of vectors.
pub(crate) fn vector_files() -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(vectors_dir())?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "the vectors are in the repository");
    Ok(files)
}

/// The rows of the files `file-0000000`, …, padded with `x` to `width`, each holding its own name: the first `count`
/// whose boundary hash at level 0 is at least `at_least`.
pub(crate) fn flat(count: u64, width: usize, at_least: u64) -> Vec<Row> {
    let names = (0..).map(|n: u64| format!("{:x<width$}", format!("file-{n:07}")));
    let chosen = names.filter(|name| xxh3_64_with_seed(name.as_bytes(), 0x9E37_79B9_7F4A_7C15) >= at_least);
    let row = |name: String| {
        let id = Hash::of_content(name.as_bytes());
        let size = name.len() as u64;
        Row::file(name, Kind::File, id, size)
    };
    chosen.take(usize::try_from(count).expect("counts are small")).map(row).collect()
}
