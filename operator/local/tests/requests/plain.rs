//! Takes out of answers what no two servers have in common, and keeps what they must agree on: which ids and versions
//! are equal, and where a time stands.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

static UID: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
/// Times of the servers: those that the table sends lie in an earlier century.
static TIME: LazyLock<Regex> = LazyLock::new(|| pattern(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"));
static AGE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d+[smh])+$"));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d+\b"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// What is known of a scenario's answers so far.
pub(crate) struct Plain {
    /// Texts that differ from run to run, and what stands for each.
    names: Vec<(String, String)>,
    uids: Vec<String>,
    versions: Vec<String>,
}

impl Plain {
    /// For a scenario in this namespace.
    pub(crate) fn of(namespace: &str) -> Self {
        Self { names: vec![(namespace.into(), "{ns}".into())], uids: Vec::new(), versions: Vec::new() }
    }

    /// An answer as all servers must give it.
    pub(crate) fn value(&mut self, value: Value) -> Value {
        match value {
            Value::Object(fields) => self.object(fields).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::String(text) => self.text(&text).into(),
            other => other,
        }
    }

    fn object(&mut self, mut fields: Map<String, Value>) -> Map<String, Value> {
        self.learn_name(&fields);
        sort_causes(&mut fields);
        // Kinds of definitions come in an order of chance, too.
        if let Some(Value::Array(resources)) = fields.get_mut("resources") {
            resources.sort_by_key(|resource| resource["name"].to_string());
        }
        // The version of a list or of a bookmark is that of the whole server, where others write too.
        let is_of_server = fields.contains_key("items") || fields.contains_key("rows") || is_bookmark(&fields);
        let mut plain = Map::new();
        for (field, value) in fields {
            let value = match (field.as_str(), value) {
                ("metadata", Value::Object(mut metadata)) if is_of_server => {
                    for field in ["resourceVersion", "continue"] {
                        if let Some(text) = metadata.get_mut(field).filter(|text| **text != "") {
                            *text = format!("some {field}").into();
                        }
                    }
                    self.object(metadata).into()
                }
                ("resourceVersion", Value::String(text)) if text.parse::<u64>().is_ok() => {
                    format!("version-{}", number(&mut self.versions, &text)).into()
                }
                ("cells", Value::Array(cells)) => cells.into_iter().map(|cell| self.cell(cell)).collect(),
                ("managedFields", Value::Array(entries)) => {
                    let mut entries: Vec<Value> = entries.into_iter().map(|entry| self.value(entry)).collect();
                    // Their order depends on the second in which each was written.
                    entries.sort_by_key(|entry| {
                        ["operation", "manager", "apiVersion", "subresource"].map(|field| entry[field].to_string())
                    });
                    entries.into()
                }
                (_, value) => self.value(value),
            };
            plain.insert(self.text(&field), value);
        }
        plain
    }

    fn cell(&mut self, cell: Value) -> Value {
        match cell {
            Value::String(age) if AGE.is_match(&age) => "age".into(),
            cell => self.value(cell),
        }
    }

    /// A generated name ends in letters of chance.
    fn learn_name(&mut self, fields: &Map<String, Value>) {
        let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
        let (prefix, name) = (text("generateName"), text("name"));
        if !prefix.is_empty() && name.len() == prefix.len() + 5 && !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.into(), format!("{prefix}*****")));
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, plain) in &self.names {
            text = text.replace(name, plain);
        }
        let uids = &mut self.uids;
        let text = UID.replace_all(&text, |found: &Captures<'_>| format!("uid-{}", number(uids, &found[0])));
        let text = TIME.replace_all(&text, |found: &Captures<'_>| match found.get(1) {
            Some(_) => "a time, with a fraction",
            None => "a time",
        });
        if text.to_lowercase().replace(' ', "").contains("resourceversion") {
            return NUMBER.replace_all(&text, "N").into_owned();
        }
        text.into_owned()
    }
}

/// A cluster lists several causes in an order of chance: that of a Go map. The message says them all once more.
fn sort_causes(fields: &mut Map<String, Value>) {
    let Some(Value::Array(causes)) = fields.get_mut("details").and_then(|details| details.get_mut("causes")) else {
        return;
    };
    if causes.len() < 2 {
        return;
    }
    causes.sort_by_key(Value::to_string);
    if let Some(Value::String(message)) = fields.get_mut("message")
        && let Some((head, _)) = message.split_once(" is invalid: ")
    {
        *message = format!("{head} is invalid: [the causes]");
    }
}

fn is_bookmark(fields: &Map<String, Value>) -> bool {
    fields.get("metadata").is_some_and(|metadata| metadata["annotations"]["k8s.io/initial-events-end"].is_string())
}

/// The place of a text among those that were seen, from 1.
fn number(seen: &mut Vec<String>, text: &str) -> usize {
    let place = seen.iter().position(|one| one == text).unwrap_or_else(|| {
        seen.push(text.into());
        seen.len() - 1
    });
    place + 1
}
