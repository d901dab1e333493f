//! The API server's audit log, in which every call of the operator is a line.

use anyhow::{Context as _, Result};
use serde_json::Value;
use varve_e2e::env;

/// A call of the operator.
pub(crate) struct Call {
    /// `create`, `get`, `watch`…
    pub(crate) verb: String,
    /// The API group; `core` has no name of its own.
    pub(crate) group: String,
    /// The resource, in the plural.
    pub(crate) resource: String,
    /// Whether its `/status` was called.
    pub(crate) is_status: bool,
    pub(crate) namespace: String,
    /// The object's name; none where many were asked for.
    pub(crate) name: String,
}

impl Call {
    fn of(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        Some(Self {
            verb: text(&event["verb"]),
            group: object["apiGroup"].as_str().unwrap_or("core").to_owned(),
            resource: text(&object["resource"]),
            is_status: !text(&object["subresource"]).is_empty(),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
        })
    }

    /// Whether it changes something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it is about an object of somebody's, and not an Event or the Lease.
    pub(crate) fn is_of_an_object(&self) -> bool {
        !matches!(self.resource.as_str(), "events" | "leases")
    }

    /// Verb, group and resource, for people.
    pub(crate) fn what(&self) -> String {
        let part = if self.is_status { "/status" } else { "" };
        format!("{} {} {}{part}", self.verb, self.group, self.resource)
    }
}

/// How much stands in the log by now.
pub(crate) fn end() -> Result<usize> {
    Ok(log()?.len())
}

/// The calls that were entered since the log [ended](end) there, in their order.
pub(crate) fn calls_since(begin: usize) -> Result<Vec<Call>> {
    let log = log()?;
    let log = log.get(begin..).context("the audit log was begun anew meanwhile: measure again")?;
    Ok(log.lines().filter_map(Call::of).collect())
}

fn log() -> Result<String> {
    std::fs::read_to_string(env("VARVE_AUDIT_LOG")?)
        .context("read the API server's audit log (a cluster from before it was kept must be taken down and up again)")
}
