//! The table: scenarios of requests, in the order in which they are asked.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// Requests that build on each other, in a namespace of their own.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) requests: Vec<Asked>,
}

/// A request, and how much of its answer counts.
///
/// `{ns}` stands for the scenario's namespace, and `{name}` for what an earlier request kept under that name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) name: String,
    /// Method, path and query: `GET /api/v1/namespaces/{ns}/pods?limit=1`.
    pub(crate) request: String,
    /// `Content-Type`; JSON where there is a body and nothing is said.
    #[serde(rename = "type")]
    pub(crate) media_type: Option<String>,
    pub(crate) accept: Option<String>,
    /// What is sent, as JSON.
    pub(crate) body: Option<Value>,
    /// What is sent, as it stands.
    pub(crate) text: Option<String>,
    /// Asked again until it is answered with this status: the garbage collector of a cluster takes its time.
    pub(crate) until: Option<u16>,
    /// What later requests name in braces: where it stands in this answer, as a JSON pointer.
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
    /// The parts of the answer that are compared, where it isn't the whole.
    pub(crate) only: Option<Rule>,
    /// The parts of the answer that are not.
    pub(crate) except: Option<Rule>,
    /// Why this server is known to answer otherwise.
    pub(crate) differs: Option<String>,
}

/// Some parts of an answer, and why they are told apart.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// As [`super::parts`] reads them.
    pub(crate) parts: Vec<String>,
    /// For whoever reads the table.
    #[serde(rename = "why")]
    pub(crate) _why: String,
}

/// All scenarios, in the order of their files.
pub(crate) fn scenarios() -> Result<Vec<Scenario>> {
    let folder = super::folder("table");
    let mut paths = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("read {}", folder.display()))?;
    paths.sort();
    let scenario = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let requests = serde_yaml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        Ok(Scenario { name, requests })
    };
    paths.iter().map(scenario).collect()
}
