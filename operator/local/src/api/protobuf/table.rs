//! The field numbers of the messages, from `fields.txt`, parsed when the first protobuf comes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A message: its fields by number.
pub(super) type Message = BTreeMap<u64, Field>;

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// Whether false and 0 say that it is not set.
    pub(super) is_zero_unset: bool,
}

/// How JSON has a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    One,
    List,
    Map,
    /// The fields of the message stand where the message would.
    Inline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int,
    Double,
    /// Seconds and nanoseconds, shown as a time to the second or to the microsecond.
    Time,
    MicroTime,
    /// A message with the one text.
    Quantity,
    IntOrString,
    /// A message with the one field of bytes that are JSON.
    Json,
    Message(&'static str),
}

static MESSAGES: LazyLock<BTreeMap<&'static str, Message>> = LazyLock::new(|| parse(include_str!("fields.txt")));

/// The message by its name in the table.
pub(super) fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

/// The message of a kind.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return message("meta.DeleteOptions");
    }
    let package = match api_version {
        "v1" => "core",
        "batch/v1" => "batch",
        "events.k8s.io/v1" => "events",
        "coordination.k8s.io/v1" => "coordination",
        _ => return None,
    };
    message(&format!("{package}.{kind}"))
}

fn parse(text: &'static str) -> BTreeMap<&'static str, Message> {
    let mut messages = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            current = line;
            messages.entry(current).or_insert_with(Message::new);
            continue;
        }
        let (Some(number), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(number) = number.parse() else { continue };
        let (place, kind) = place(kind);
        let is_zero_unset = kind.ends_with('!');
        let field = Field { name, place, kind: of(kind.trim_end_matches('!')), is_zero_unset };
        messages.entry(current).or_insert_with(Message::new).insert(number, field);
    }
    messages
}

fn place(kind: &'static str) -> (Place, &'static str) {
    [("[]", Place::List), ("{}", Place::Map), ("<", Place::Inline)]
        .into_iter()
        .find_map(|(mark, place)| kind.strip_prefix(mark).map(|kind| (place, kind)))
        .unwrap_or((Place::One, kind))
}

fn of(kind: &'static str) -> Kind {
    match kind {
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "double" => Kind::Double,
        "time" => Kind::Time,
        "microtime" => Kind::MicroTime,
        "quantity" => Kind::Quantity,
        "intorstring" => Kind::IntOrString,
        "json" => Kind::Json,
        message => Kind::Message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_a_field_names_is_there() {
        for (name, fields) in MESSAGES.iter() {
            for field in fields.values() {
                if let Kind::Message(below) = field.kind {
                    assert!(message(below).is_some(), "{name}.{} is a {below}", field.name);
                }
            }
        }
    }
}
