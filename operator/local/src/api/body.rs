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
    let unreadable = |error: String| unrecognized(what, &error, bytes);
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
            let mut value = serde_yaml::from_slice(bytes).map_err(|error| unreadable(yaml_error(&error)))?;
            whole_numbers(&mut value);
            Ok(Body { value, duplicates: Vec::new() })
        }
        Err(error) => Err(unreadable(format!("{NO_KIND}{}", json_error(&error)))),
    }
}

/// What a decoder says first that looks for the kind of what it decodes.
pub(crate) const NO_KIND: &str = "couldn't get version/kind; json parse error: ";
/// How much of a body is shown in a refusal.
const SHOWN_BYTES: usize = 30;

/// 400: not an object of the kind that the path is about.
pub(crate) fn unrecognized(what: &str, why: &str, bytes: &[u8]) -> Failure {
    let first = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let shown = match bytes {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(first).into_owned(),
        _ => data_encoding::HEXLOWER.encode(first),
    };
    let more = if first.len() < bytes.len() { " ..." } else { "" };
    Failure::bad_request(format!("the object provided is unrecognized (must be of type {what}): {why} ({shown}{more})"))
}

/// A refusal of [`unrecognized`] as the decoder said it, without what is said around it.
pub(crate) fn without_wrapper(message: &str, what: &str) -> String {
    let inner = message.strip_prefix(&format!("the object provided is unrecognized (must be of type {what}): "));
    inner.and_then(|inner| inner.rsplit_once(" (")).map_or_else(|| message.to_owned(), |(why, _)| why.to_owned())
}

/// In Go's words, as far as they are known here.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".into() } else { error.to_string() }
}

/// In the words of Go's libyaml, which counts lines from 0.
pub(crate) fn yaml_error(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    match error.location() {
        Some(place) => format!("yaml: line {}: {what}", place.line() - 1),
        None => format!("yaml: {what}"),
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
