//! The independent reader, `docs/format/varve_ids.py`: it knows the format's documents and none of our code.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The id that the reader gives the tree of a folder's files.
pub fn tree_id(folder: &Path) -> Result<String> {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format");
    let packages = tempfile::tempdir()?;
    let installed = Command::new("python3")
        .args(["-m", "pip", "install", "-q", "--target"])
        .arg(packages.path())
        .arg("-r")
        .arg(documents.join("requirements.txt"))
        .status()
        .context("start python3")?;
    ensure!(installed.success(), "install the reader's Python packages");
    let output = Command::new("python3")
        .env("PYTHONPATH", packages.path())
        .arg(documents.join("varve_ids.py"))
        .arg("tree")
        .arg(folder)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    Ok(printed["id"].as_str().context("an id")?.to_owned())
}
