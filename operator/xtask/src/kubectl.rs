//! kubectl on a cluster that is up, as a user would call it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::Access;
use crate::run;

const POLL: Duration = Duration::from_millis(250);

impl Access {
    fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = run::command(self.get("VARVE_KUBECTL")?, arguments);
        command.envs(&self.environment);
        Ok(command)
    }

    /// Runs kubectl, its output on ours.
    pub(crate) fn show(&self, arguments: &[&str]) -> Result<()> {
        run::run("run kubectl", &mut self.kubectl(arguments)?)
    }

    /// Runs kubectl and gives back what it printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String> {
        run::output("run kubectl", &mut self.kubectl(arguments)?)
    }

    /// `kubectl get … -o json`.
    pub(crate) fn get_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ask(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("read kubectl's JSON")
    }

    /// Applies manifests server-side.
    pub(crate) fn apply(&self, arguments: &[&str], manifests: &str) -> Result<String> {
        let mut command =
            self.kubectl(&[&["apply", "--server-side", "--force-conflicts", "-f", "-"], arguments].concat())?;
        run::output_of_input("apply manifests", &mut command, manifests)
    }
}

/// Asks until there is an answer; what was seen last goes into the error.
pub(crate) fn wait<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(seen) if start.elapsed() > limit => bail!("{what}: not within {} s; {seen}", limit.as_secs()),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// The status and message of a condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let condition = conditions.iter().find(|c| c["type"] == kind)?;
    Some((condition["status"].as_str()?, condition["message"].as_str().unwrap_or_default()))
}
