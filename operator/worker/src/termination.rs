//! The termination message: a container's last words, which Kubernetes shows in the pod's status.
//!
//! A hint for people and for the operator's explanation; the record in the store is the truth.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The variable that moves the file, for tests and for runners other than Kubernetes.
pub const ENV_TERMINATION_LOG: &str = "VARVE_TERMINATION_LOG";

/// Twelve KiB per pod are shared by all its containers, so ours stay well below.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Longest `message` before it is cut; what is left holds the field names, the reason, and the
/// escapes that JSON may need.
const MAX_TEXT_BYTES: usize = 900;

/// What a container says when it ends, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Termination {
    /// `CamelCase`, from a bounded set.
    pub reason: String,
    /// What happened to what, and what to do about it.
    pub message: String,
    /// Datums recorded by this container, finished ones only; absent for an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<u64>,
    /// Datums of the shard that no result stands for yet; absent for an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

impl Termination {
    /// A message without counts.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), recorded: None, left: None }
    }

    /// The JSON, at most 2 KiB: a message too long is cut at its end.
    pub fn to_json(&self) -> String {
        let mut cut = self.clone();
        let mut limit = MAX_TEXT_BYTES;
        loop {
            cut.message = shorten(&self.message, limit);
            let json = serde_json::to_string(&cut).unwrap_or_default();
            if json.len() <= MAX_MESSAGE_BYTES || limit == 0 {
                return json;
            }
            limit /= 2;
        }
    }

    /// Writes the message where Kubernetes looks for it. A failure is only logged: the exit code
    /// still says what matters.
    pub fn write(&self) {
        let path = path();
        if let Err(error) = write_to(&path, &self.to_json()) {
            tracing::debug!(path = %path.display(), %error, "can't write the termination message");
        }
    }
}

fn path() -> PathBuf {
    std::env::var_os(ENV_TERMINATION_LOG).map_or_else(|| "/dev/termination-log".into(), PathBuf::from)
}

fn write_to(path: &Path, json: &str) -> std::io::Result<()> {
    std::fs::write(path, json)
}

/// The first `limit` bytes of a text, cut at a character, with a mark that it was cut.
fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_and_content_fits() {
        for text in ["ä".repeat(5000), "\u{1}".repeat(5000), "\"".repeat(5000)] {
            let json = Termination::new("StoreUnavailable", text).to_json();
            assert!(json.len() <= MAX_MESSAGE_BYTES, "{} bytes", json.len());
            assert_eq!(serde_json::from_str::<Termination>(&json).unwrap().reason, "StoreUnavailable");
        }
    }

    #[test]
    fn a_short_message_stands_as_it_is() {
        let said = Termination { recorded: Some(3), left: Some(0), ..Termination::new("Done", "3 datums recorded") };
        assert_eq!(said.to_json(), r#"{"reason":"Done","message":"3 datums recorded","recorded":3,"left":0}"#);
    }
}
