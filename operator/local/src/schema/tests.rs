//! What a schema does with an object.

use serde_json::{Value, json};

use super::{Cause, Schema};

fn schema(spec: Value) -> Schema {
    Schema::of_crd(&json!({ "type": "object", "properties": { "spec": spec } })).expect("a schema")
}
