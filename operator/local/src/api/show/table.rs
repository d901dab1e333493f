//! `as=Table`: the rows and columns that `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration;
use super::form::metadata;
use crate::api::kinds::{Cell, Column, Kind};

/// How much of each object its row carries (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    None,
    Metadata,
    Object,
}

/// A table of `objects`, its metadata not filled in.
pub(crate) fn of<'a>(
    kind: &Kind,
    objects: impl Iterator<Item = &'a Value>,
    version: &str,
    rows: Rows,
    now: Timestamp,
) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {},
        "columnDefinitions": kind.columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": objects.map(|object| row(kind, object, version, rows, now)).collect::<Vec<_>>(),
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn row(kind: &Kind, object: &Value, version: &str, rows: Rows, now: Timestamp) -> Value {
    let cells: Vec<Value> = kind.columns.iter().map(|column| cell(column, object, now)).collect();
    match rows {
        Rows::None => json!({ "cells": cells, "object": null }),
        Rows::Metadata => json!({ "cells": cells, "object": metadata(object, version) }),
        Rows::Object => json!({ "cells": cells, "object": object }),
    }
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    match &column.cell {
        Cell::Built(build) => build(object),
        Cell::Since(find) => duration::since(&find(object), now).into(),
        Cell::Duration(find) => {
            let (start, end) = find(object);
            let Some(start) = duration::moment(&start) else { return Value::from("") };
            let end = duration::moment(&end).unwrap_or(now);
            duration::human(end.as_second() - start.as_second()).into()
        }
        Cell::Path(path) => {
            let found = path.find(object);
            match (column.kind.as_str(), found.as_slice()) {
                (_, []) => Value::Null,
                ("date", [first, ..]) => duration::since(first, now).into(),
                ("string", several) => several.iter().map(|value| plain(value)).collect::<Vec<_>>().join(" ").into(),
                (_, [first, ..]) => (*first).clone(),
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}
