//! What clients send: JSON or YAML, of a bounded size, with duplicate fields found.

use serde_json::Value;

use super::failure::Failure;

/// The largest body: what etcd takes, and therefore a cluster.
pub(crate) const MAX_BYTES: usize = 3 << 20;

/// A body, read.
pub(crate) struct Body {
    pub(crate) value: Value,
    /// The paths of fields that stand twice; the last one counts.
    pub(crate) duplicates: Vec<String>,
}

/// Reads JSON or, where the type says so, YAML; an empty body is null.
pub(crate) fn parse(bytes: &[u8], media_type: &str, what: &str) -> Result<Body, Failure> {
    if bytes.len() > MAX_BYTES {
        return Err(Failure::too_large(MAX_BYTES));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Body { value: Value::Null, duplicates: Vec::new() });
    }
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {what}): couldn't get version/kind; json parse error: {error}"
        ))
    };
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(Body { value, duplicates: super::duplicates::find(bytes) }),
        Err(_) if media_type.contains("yaml") => {
            let value = serde_yaml::from_slice(bytes).map_err(|error| unreadable(&error))?;
            Ok(Body { value, duplicates: Vec::new() })
        }
        Err(error) => Err(unreadable(&error)),
    }
}
