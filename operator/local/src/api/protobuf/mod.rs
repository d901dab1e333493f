//! Reads Kubernetes' protobuf, in which `kubectl create` sends built-in kinds; answers are in JSON all the same.
//!
//! The envelope is `runtime.Unknown` after four bytes of magic. What is in it is read by a table of field numbers,
//! straight into the JSON of the object.

mod read;
mod table;

use serde_json::Value;

use read::Reader;

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A body that can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    #[error("the message ends within a field")]
    Truncated,
    #[error("field {0} has an unknown wire type")]
    WireType(u64),
    #[error("a text is not UTF-8")]
    Text,
    #[error("a number has more than 64 bits")]
    Number,
    #[error("{0} is not taken as protobuf here: send JSON")]
    Kind(String),
    #[error("messages within messages go too deep")]
    Depth,
}

/// The object in a body.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        let (number, value) = field?;
        match number {
            1 => {
                for field in Reader::new(value.bytes()) {
                    let (number, value) = field?;
                    match number {
                        1 => api_version = value.text()?.into(),
                        2 => kind = value.text()?.into(),
                        _ => {}
                    }
                }
            }
            2 => raw = value.bytes(),
            _ => {}
        }
    }
    let message = table::message_of(&api_version, &kind)
        .ok_or_else(|| ProtobufError::Kind(format!("{kind} of {api_version}")))?;
    let mut object = read::message(message, raw)?;
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("a short field");
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &kind), &field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read_with_its_bytes_in_base64() {
        let metadata = field(1, &field(1, b"store"));
        let data = field(2, &[field(1, b"url"), field(2, b"s3://x")].concat());
        let secret = decode(&body("v1", "Secret", &[metadata, data, field(3, b"Opaque")].concat()));
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "store" }, "data": { "url": "czM6Ly94" },
        });
        assert_eq!(secret, Ok(expected));
    }

    #[test]
    fn parts_that_json_has_in_place_are_put_there() {
        let source = field(2, &field(6, &field(1, b"store")));
        let volume = field(1, &[field(1, b"v"), source].concat());
        let pod = decode(&body("v1", "Pod", &field(2, &volume))).expect("a pod");
        assert_eq!(pod["spec"], json!({ "volumes": [{ "name": "v", "secret": { "secretName": "store" } }] }));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = body("v1", "Secret", &field(3, b"Opaque"));
        for length in whole.len() - 7..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn kinds_that_are_not_in_the_table_are_refused() {
        assert_eq!(
            decode(&body("apps/v1", "Deployment", b"")),
            Err(ProtobufError::Kind("Deployment of apps/v1".into()))
        );
    }
}
