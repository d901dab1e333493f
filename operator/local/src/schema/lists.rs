//! Lists that are sets or maps: their items are known by value or by key, and may not be there twice.

use serde_json::{Map, Value};

use super::cause::{Cause, Path};
use super::node::{ListType, Node, Rest};

/// Items that are there twice, in all sets and maps of an object.
pub(super) fn duplicates(root: &Node, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(root, object, &Path::Root, &mut causes);
    causes
}

fn walk(node: &Node, value: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(field) = node.properties.get(name) {
                    walk(field, value, &Path::Field(at, name), causes);
                } else if let Rest::Of(field) = &node.rest {
                    walk(field, value, &Path::Key(at, name), causes);
                }
            }
        }
        Value::Array(items) => {
            match &node.list {
                ListType::Atomic => {}
                ListType::Set => second_ones(items, at, causes),
                ListType::Map(keys) => {
                    if let Some(wrong) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
                        let detail = "must be an object for an array of list-type map";
                        causes.push(Cause::invalid(&Path::Index(at, wrong), &items[wrong], detail));
                    } else {
                        let keys: Vec<Value> = items.iter().map(|item| key_of(item, keys)).collect();
                        second_ones(&keys, at, causes);
                    }
                }
            }
            if let Some(node) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    walk(node, item, &Path::Index(at, index), causes);
                }
            }
        }
        _ => {}
    }
}

/// The second of each items that are alike.
fn second_ones(items: &[Value], at: &Path, causes: &mut Vec<Cause>) {
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().filter(|earlier| *earlier == item).count() == 1 {
            causes.push(Cause::duplicate(&Path::Index(at, index), item));
        }
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let fields = keys.iter().filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone())));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// The item of an older list that is the same item as `item`; none in lists that know no items.
pub(super) fn same_item<'a>(node: &Node, older: &'a Value, item: &Value) -> Option<&'a Value> {
    let ListType::Map(keys) = &node.list else { return None };
    older.as_array()?.iter().find(|other| keys.iter().all(|key| other.get(key) == item.get(key)))
}
