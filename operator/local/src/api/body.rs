//! What clients send: JSON, YAML or protobuf, of a bounded size, with duplicate fields found.

use serde_json::Value;

use super::failure::Failure;
use super::protobuf;

/// The largest body: what etcd takes, and therefore a cluster.
pub(crate) const MAX_BYTES: usize = 3 << 20;

/// A body, read.
pub(crate) struct Body {
    pub(crate) value: Value,
    /// The paths of fields that stand twice; the last one counts.
    pub(crate) duplicates: Vec<String>,
}

/// Reads JSON or, where the type says so, YAML or protobuf; an empty body is null.
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
    if media_type.starts_with(protobuf::MEDIA_TYPE) {
        let value = protobuf::decode(bytes).map_err(|error| Failure::bad_request(error.to_string()))?;
        return Ok(Body { value, duplicates: Vec::new() });
    }
    match serde_json::from_slice(bytes) {
        Ok(mut value) => {
            whole_numbers(&mut value);
            Ok(Body { value, duplicates: super::duplicates::find(bytes) })
        }
        Err(_) if media_type.contains("yaml") => {
            let mut value = serde_yaml::from_slice(bytes).map_err(|error| unreadable(&error))?;
            whole_numbers(&mut value);
            Ok(Body { value, duplicates: Vec::new() })
        }
        Err(error) => Err(unreadable(&error)),
    }
}

/// The largest number up to which doubles tell all whole numbers apart.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Makes `3` of `3.0`, as Go writes it: the two are the same number to everybody but a comparison of texts.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            let found = number.as_f64().filter(|found| found.fract() == 0.0 && found.abs() <= MAX_WHOLE);
            if let Some(whole) = found.and_then(|found| format!("{found:.0}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_without_a_fraction_are_whole() {
        let mut value = json!({ "a": [3.0, -2.0, 0.5, 1e300], "b": 7 });
        whole_numbers(&mut value);
        assert_eq!(value, json!({ "a": [3, -2, 0.5, 1e300], "b": 7 }));
    }

    #[test]
    fn yaml_is_read_where_the_type_says_so() {
        let body = parse(b"a: [1, x]", "application/apply-patch+yaml", "Pod").expect("a body");
        assert_eq!(body.value, json!({ "a": [1, "x"] }));
        assert!(parse(b"a: [1, x]", "application/json", "Pod").is_err());
    }
}
