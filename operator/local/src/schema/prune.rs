//! Takes out of an object what its schema does not know, as apiextensions' `pruning` does.

use serde_json::Value;

use super::node::{Node, Rest};

const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The paths that were taken out, sorted, as `spec.inputs[0].glop`.
pub(super) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut pruned = Pruned { at: String::new(), paths: Vec::new() };
    pruned.walk(Some(root), object);
    pruned.paths.sort();
    pruned.paths
}

struct Pruned {
    at: String,
    paths: Vec<String>,
}

impl Pruned {
    fn walk(&mut self, node: Option<&Node>, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let unknown: Vec<String> = fields.keys().filter(|name| !is_known(node, name)).map(Into::into).collect();
                for name in unknown {
                    fields.remove(&name);
                    let path = self.below(&name);
                    self.paths.push(path);
                }
                for (name, value) in fields {
                    let Some(node) = node else { continue };
                    let below = node.field(name);
                    if below.is_none() && !matches!(node.rest, Rest::Anything) {
                        continue; // preserved as it is
                    }
                    let path = self.below(name);
                    self.inside(path, below, value);
                }
            }
            Value::Array(items) => {
                let preserves = node.is_some_and(|node| node.preserves_unknown && node.items.is_none());
                if preserves {
                    return;
                }
                for (index, item) in items.iter_mut().enumerate() {
                    let path = format!("{}[{index}]", self.at);
                    self.inside(path, node.and_then(|node| node.items.as_deref()), item);
                }
            }
            _ => {}
        }
    }

    fn inside(&mut self, path: String, node: Option<&Node>, value: &mut Value) {
        let outside = std::mem::replace(&mut self.at, path);
        self.walk(node, value);
        self.at = outside;
    }

    fn below(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }
}

fn is_known(node: Option<&Node>, name: &str) -> bool {
    node.is_some_and(|node| {
        node.preserves_unknown
            || node.properties.contains_key(name)
            || !matches!(node.rest, Rest::Nothing)
            || (node.embedded && OF_EVERY_OBJECT.contains(&name))
    })
}
