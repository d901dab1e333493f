//! One object or a list of them in the form that a client asked for.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::Shape;
use super::{events, table};
use crate::api::kinds::{Kind, View};
use crate::api::object::Object;

/// How to show the objects of a kind.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) kind: Arc<Kind>,
    pub(crate) shape: Shape,
    /// How much of each object a row of a table carries: `Metadata`, `Object` or `None`.
    pub(crate) rows: table::Rows,
}

/// What stands beside the items of a list.
pub(crate) struct ListMeta {
    pub(crate) version: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl Form {
    /// Objects as they are kept: their text needs no work.
    pub(crate) fn is_verbatim(&self) -> bool {
        self.shape == Shape::Whole && self.kind.view == View::Kept
    }

    /// One object.
    pub(crate) fn object(&self, object: &Object, now: Timestamp) -> Bytes {
        if self.is_verbatim() {
            return object.text.clone();
        }
        self.value(&object.value, now).to_string().into()
    }

    /// One object of a list: those of Kubernetes' own kinds don't repeat what they are.
    fn item(&self, object: &Object, now: Timestamp) -> Bytes {
        if self.kind.is_custom || self.shape != Shape::Whole {
            return self.object(object, now);
        }
        let mut item = self.value(&object.value, now);
        if let Value::Object(fields) = &mut item {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        item.to_string().into()
    }

    /// One object, or another's value at some version, as JSON.
    pub(crate) fn value(&self, object: &Value, now: Timestamp) -> Value {
        match self.shape {
            Shape::Whole => events::shown(self.kind.view, object.clone()),
            Shape::Metadata(version) => metadata(object, version),
            Shape::Table(version) => {
                let mut table = table::of(&self.kind, std::iter::once(object), version, self.rows, now);
                table["metadata"] = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                table
            }
        }
    }

    /// A bookmark, which is nothing but a version: a table has no rows for it.
    pub(crate) fn bookmark(&self, bookmark: &Value) -> Value {
        match self.shape {
            Shape::Whole => bookmark.clone(),
            Shape::Metadata(version) => metadata(bookmark, version),
            Shape::Table(version) => {
                let mut table = table::of(&self.kind, std::iter::empty(), version, self.rows, Timestamp::UNIX_EPOCH);
                table["metadata"] = json!({ "resourceVersion": bookmark["metadata"]["resourceVersion"] });
                table["rows"] = json!([{ "cells": [], "object": metadata(bookmark, version) }]);
                table
            }
        }
    }

    /// A list.
    pub(crate) fn list(&self, objects: &[Arc<Object>], meta: &ListMeta, now: Timestamp) -> Bytes {
        let mut metadata_of_list = json!({ "resourceVersion": meta.version.to_string() });
        if let Some(next) = &meta.next {
            metadata_of_list["continue"] = next.as_str().into();
        } else if self.kind.is_custom && self.shape == Shape::Whole {
            metadata_of_list["continue"] = "".into();
        }
        if let Some(remaining) = meta.remaining.filter(|_| meta.next.is_some()) {
            metadata_of_list["remainingItemCount"] = remaining.into();
        }
        match self.shape {
            Shape::Table(version) => {
                let values = objects.iter().map(|object| &object.value);
                let mut table = table::of(&self.kind, values, version, self.rows, now);
                table["metadata"] = metadata_of_list;
                table.to_string().into()
            }
            Shape::Whole | Shape::Metadata(_) => {
                let (kind, api_version) = match self.shape {
                    Shape::Metadata(version) => {
                        ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}"))
                    }
                    _ => (self.kind.list_kind.clone(), self.kind.api_version.clone()),
                };
                let head = json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata_of_list }).to_string();
                let mut text =
                    BytesMut::with_capacity(head.len() + objects.iter().map(|o| o.text.len() + 1).sum::<usize>());
                text.put_slice(head.trim_end_matches('}').as_bytes());
                text.put_slice(b"},\"items\":[");
                for (place, object) in objects.iter().enumerate() {
                    if place > 0 {
                        text.put_u8(b',');
                    }
                    text.put_slice(&self.item(object, now));
                }
                text.put_slice(b"]}");
                text.freeze()
            }
        }
    }
}

/// The metadata of an object, alone.
pub(crate) fn metadata(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}
