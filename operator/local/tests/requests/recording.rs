//! The recorded answers: one file a scenario, in the order of its requests.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An answer as all servers must give it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The request's name in the table.
    pub(crate) to: String,
    pub(crate) status: u16,
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// JSON; a list of events where it was a watch; text where it was neither.
    pub(crate) body: Value,
}

const HEAD: &str = "# Written by `cargo xtask record`. Do not edit.\n";

fn path(scenario: &str) -> std::path::PathBuf {
    super::folder("recorded").join(format!("{scenario}.yaml"))
}

/// The recorded answers of a scenario.
pub(crate) fn read(scenario: &str) -> Result<Vec<Answer>> {
    let path = path(scenario);
    let text =
        fs::read_to_string(&path).with_context(|| format!("read {}; `cargo xtask record` makes it", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

/// Writes the answers of a scenario anew.
pub(crate) fn write(scenario: &str, answers: &[Answer]) -> Result<()> {
    let path = path(scenario);
    let text = HEAD.to_owned() + &serde_yaml::to_string(answers)?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Deletes what was recorded of scenarios that are no more.
pub(crate) fn keep_only(scenarios: &[String]) -> Result<()> {
    for entry in fs::read_dir(super::folder("recorded"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if !scenarios.iter().any(|one| *one == name) {
            fs::remove_file(&path).with_context(|| format!("delete {}", path.display()))?;
        }
    }
    Ok(())
}
