//! Where two answers differ.

use std::collections::BTreeSet;

use serde_json::Value;

use super::recording::Answer;

/// One field in which two answers differ; null where it is not there.
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) recorded: Value,
    pub(crate) found: Value,
}

/// All of them.
pub(crate) fn differences(recorded: &Answer, found: &Answer) -> Vec<Difference> {
    let value = |answer: &Answer| serde_json::to_value(answer).expect("an answer is JSON");
    let mut all = Vec::new();
    compare(&value(recorded), &value(found), String::new(), &mut all);
    all
}

fn compare(recorded: &Value, found: &Value, field: String, all: &mut Vec<Difference>) {
    match (recorded, found) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let of = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                compare(&of(one), &of(other), format!("{field}/{name}"), all);
                // A field that is null and one that is not there are told apart.
                if one.contains_key(name) != other.contains_key(name) && of(one).is_null() && of(other).is_null() {
                    let shown = |is_there: bool| if is_there { "null" } else { "no such field" }.into();
                    let (recorded, found) = (shown(one.contains_key(name)), shown(other.contains_key(name)));
                    all.push(Difference { field: format!("{field}/{name}"), recorded, found });
                }
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for place in 0..one.len().max(other.len()) {
                let of = |items: &[Value]| items.get(place).cloned().unwrap_or_default();
                compare(&of(one), &of(other), format!("{field}/{place}"), all);
            }
        }
        _ if recorded == found => {}
        _ => all.push(Difference { field, recorded: recorded.clone(), found: found.clone() }),
    }
}
