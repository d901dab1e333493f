//! What a client accepts: JSON whole, as a table, or as metadata alone. Protobuf is not offered.

use crate::api::failure::Failure;
use crate::api::kinds::Kind;

/// What an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    /// `meta.k8s.io` in this version.
    Table(&'static str),
    /// `PartialObjectMetadata`, in this version.
    Metadata(&'static str),
}

/// What a refusal lists, in the words of a cluster.
const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const OFFERED_AS_WATCH: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The first of the accepted types that is offered here.
pub(crate) fn shape(accept: Option<&str>, kind: &Kind) -> Result<Shape, Failure> {
    find(accept).ok_or_else(|| {
        if kind.is_custom {
            Failure::not_acceptable(OFFERED)
        } else {
            Failure::no_representation(&format!("{OFFERED}, {OFFERED_AS_WATCH}"))
        }
    })
}

fn find(accept: Option<&str>) -> Option<Shape> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Some(Shape::Whole) };
    accept.split(',').find_map(one)
}

fn one(range: &str) -> Option<Shape> {
    let mut parts = range.split(';').map(str::trim);
    let is_json = matches!(parts.next()?, "application/json" | "application/*" | "*/*");
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let version = match get("v") {
        Some("v1beta1") => "v1beta1",
        _ => "v1",
    };
    match get("as") {
        _ if !is_json => None,
        None => Some(Shape::Whole),
        Some("Table") => Some(Shape::Table(version)),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Shape::Metadata(version)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_get_accepts_is_a_table() {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(find(Some(accept)), Some(Shape::Table("v1")));
    }

    #[test]
    fn json_stands_in_for_protobuf() {
        assert_eq!(find(Some("application/vnd.kubernetes.protobuf,application/json")), Some(Shape::Whole));
    }

    #[test]
    fn protobuf_alone_is_not_to_be_had() {
        assert_eq!(find(Some("application/vnd.kubernetes.protobuf")), None);
    }
}
