//! What names and labels may be, in Kubernetes' words.

use serde_json::Value;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const MAX_SUBDOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

/// What is wrong with the name of an object.
pub(crate) fn subdomain(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > MAX_SUBDOMAIN {
        wrong.push(format!("must be no more than {MAX_SUBDOMAIN} bytes"));
    }
    if !name.split('.').all(is_label) {
        wrong.push(SUBDOMAIN.into());
    }
    wrong
}

/// What is wrong with the name of a namespace.
pub(crate) fn label(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.len() > MAX_LABEL {
        wrong.push(format!("must be no more than {MAX_LABEL} bytes"));
    }
    if name.contains('.') {
        wrong.push("must not contain dots".into());
    } else if !is_label(name) {
        wrong.push(LABEL.into());
    }
    wrong
}

/// What is wrong with the key of a label or an annotation.
pub(crate) fn qualified(key: &str) -> Vec<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let mut wrong = Vec::new();
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".into()),
        Some(prefix) => wrong.extend(subdomain(prefix).into_iter().map(|what| format!("prefix part {what}"))),
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > MAX_LABEL {
        wrong.push(format!("name part must be no more than {MAX_LABEL} bytes"));
    }
    if !is_word(name) {
        wrong.push(QUALIFIED.into());
    }
    wrong
}

/// What is wrong with a key in the data of a `ConfigMap` or Secret.
pub(crate) fn config_key(key: &str) -> Option<&'static str> {
    let is_right = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (!is_right).then_some(CONFIG_KEY)
}

/// What is wrong with a finalizer of one of Kubernetes' own kinds, beside what is wrong with any.
pub(crate) fn finalizer(name: &str) -> Option<&'static str> {
    let is_standard = matches!(name, "kubernetes" | "orphan" | "foregroundDeletion");
    (!is_standard && !name.contains('/'))
        .then_some("name is neither a standard finalizer name nor is it fully qualified")
}

/// What is wrong with the value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > MAX_LABEL {
        wrong.push(format!("must be no more than {MAX_LABEL} bytes"));
    }
    if !value.is_empty() && !is_word(value) {
        wrong.push(LABEL_VALUE.into());
    }
    wrong
}

/// A value as the API server quotes it.
pub(crate) fn quoted(value: &str) -> String {
    Value::from(value).to_string()
}

fn is_label(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_end(text.chars().next())
        && is_end(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words_with_dots() {
        for name in ["a", "a-b", "a.b-c.9", "0"] {
            assert_eq!(subdomain(name), Vec::<String>::new(), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a"] {
            assert_eq!(subdomain(name), [SUBDOMAIN], "{name}");
        }
    }

    #[test]
    fn labels_have_keys_with_prefixes() {
        for key in ["app", "varve.dev/repo", "App_1.x"] {
            assert_eq!(qualified(key), Vec::<String>::new(), "{key}");
        }
        assert_eq!(qualified("Varve/repo").len(), 1);
        assert_eq!(qualified("/repo"), ["prefix part must be non-empty"]);
    }
}
