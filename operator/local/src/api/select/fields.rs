//! Field selectors: `a.b=c` and `a.b!=c`, for the fields that a kind lets be selected.

use serde_json::Value;

use crate::api::failure::Failure;
use crate::api::kinds::Kind;

/// All of these must hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<Requirement>);

#[derive(Debug, Clone)]
struct Requirement {
    path: Vec<String>,
    default: &'static str,
    value: String,
    is_equal: bool,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.holds(object))
    }

    pub(super) fn parse(text: &str, kind: &Kind) -> Result<Self, Failure> {
        let terms = terms(text).into_iter().filter(|term| !term.trim().is_empty());
        terms.map(|term| requirement(&term, kind)).collect::<Result<_, _>>().map(Self)
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let found = self.path.iter().try_fold(object, |value, field| value.get(field));
        let is_same = match found {
            None | Some(Value::Null) => self.value == self.default,
            Some(Value::String(text)) => *text == self.value,
            Some(other) => serde_json::from_str::<Value>(&self.value).is_ok_and(|value| value == *other),
        };
        is_same == self.is_equal
    }
}

/// What stands between commas; a backslash keeps the letter after it.
fn terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let last = terms.len() - 1;
        match letter {
            ',' => terms.push(String::new()),
            '\\' => terms[last].extend(letters.next()),
            letter => terms[last].push(letter),
        }
    }
    terms
}

fn requirement(term: &str, kind: &Kind) -> Result<Requirement, Failure> {
    let (label, value, is_equal) = ["!=", "==", "="]
        .into_iter()
        .find_map(|operator| term.split_once(operator).map(|(label, value)| (label, value, operator != "!=")))
        .ok_or_else(|| Failure::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")))?;
    let label = label.trim();
    let found = |path: Vec<String>, default| Requirement { path, default, value: value.trim().into(), is_equal };
    if matches!(label, "metadata.name" | "metadata.namespace") {
        return Ok(found(label.split('.').map(Into::into).collect(), ""));
    }
    match kind.selectable.iter().find(|one| one.label == label) {
        Some(known) => Ok(found(known.path.clone(), known.default)),
        None if kind.is("batch", "Job") => {
            Err(Failure::bad_request(format!("field label {label:?} not supported for {}", kind.kind)))
        }
        None if kind.is_custom || !kind.selectable.is_empty() => {
            Err(Failure::bad_request(format!("field label not supported: {label}")))
        }
        None => Err(Failure::bad_request(format!(
            "{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::kinds::Kinds;

    fn selects(group: &str, version: &str, plural: &str, selector: &str, object: &Value) -> Result<bool, Failure> {
        let kinds = Kinds::base();
        let kind = kinds.find(group, version, plural).expect("a kind");
        Fields::parse(selector, kind).map(|fields| fields.matches(object))
    }

    #[test]
    fn a_custom_kind_is_selected_by_the_fields_it_names() {
        let commit = json!({ "metadata": { "name": "c" }, "spec": { "repo": "sales" } });
        assert_eq!(selects("varve.dev", "v1alpha1", "commits", "spec.repo=sales", &commit), Ok(true));
        assert_eq!(selects("varve.dev", "v1alpha1", "commits", "spec.repo!=sales", &commit), Ok(false));
        assert!(selects("varve.dev", "v1alpha1", "commits", "spec.message=x", &commit).is_err());
    }

    #[test]
    fn a_field_that_is_not_there_has_its_default() {
        let node = json!({ "metadata": { "name": "n" } });
        assert_eq!(selects("", "v1", "nodes", "spec.unschedulable=false", &node), Ok(true));
        assert_eq!(selects("", "v1", "pods", "spec.nodeName=", &json!({})), Ok(true));
    }

    #[test]
    fn newer_events_are_selected_by_their_own_names() {
        let kept = json!({ "involvedObject": { "name": "sums" } });
        assert_eq!(selects("events.k8s.io", "v1", "events", "regarding.name=sums", &kept), Ok(true));
        assert_eq!(selects("", "v1", "events", "involvedObject.name=sums", &kept), Ok(true));
    }
}
