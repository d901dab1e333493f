//! The `JSONPath` of printer columns: fields, indices, `[*]`, and filters that compare one field with a constant.

use serde_json::Value;

/// A path into an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Each,
    Where { field: Vec<String>, is_equal: bool, constant: Value },
}

/// A path that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no JSONPath that is supported here: {why}")]
pub(crate) struct PathError {
    path: String,
    why: &'static str,
}

impl Path {
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        let wrong = |why| PathError { path: path.into(), why };
        let mut steps = Vec::new();
        let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let end = end_of_brackets(after).ok_or_else(|| wrong("a bracket is not closed"))?;
                steps.push(bracket(&after[..end]).ok_or_else(|| wrong("what is in the brackets"))?);
                rest = &after[end + 1..];
            } else {
                let after = rest.strip_prefix('.').ok_or_else(|| wrong("a field must start with a dot"))?;
                let (field, remaining) = take_field(after);
                if !field.is_empty() {
                    steps.push(if field == "*" { Step::Each } else { Step::Field(field) });
                } else if !remaining.starts_with('[') && !remaining.is_empty() {
                    return Err(wrong("a field has no name"));
                }
                rest = remaining;
            }
        }
        Ok(Self(steps))
    }

    /// All values that the path leads to.
    pub(crate) fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.find(value)).collect();
        }
        found
    }
}

impl Step {
    fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(field) => value.get(field).into_iter().collect(),
            Self::Index(index) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { length + index } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
            }
            Self::Each => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Where { field, is_equal, constant } => {
                let items = value.as_array().into_iter().flatten();
                let is_wanted = |item: &&Value| {
                    let found = field.iter().try_fold(*item, |value, field| value.get(field));
                    found.is_some_and(|found| (found == constant) == *is_equal)
                };
                items.filter(is_wanted).collect()
            }
        }
    }
}

/// Where the bracket closes that was opened before `text`; brackets and quotes in it are passed over.
fn end_of_brackets(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(place),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A field's name, up to the next dot or bracket; a backslash keeps the letter after it.
fn take_field(text: &str) -> (String, &str) {
    let mut field = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' => field.extend(letters.next().map(|(_, kept)| kept)),
            '.' | '[' => return (field, &text[place..]),
            letter => field.push(letter),
        }
    }
    (field, "")
}

fn bracket(inside: &str) -> Option<Step> {
    let inside = inside.trim();
    if inside == "*" {
        return Some(Step::Each);
    }
    if let Ok(index) = inside.parse() {
        return Some(Step::Index(index));
    }
    if let Some(field) = unquoted(inside) {
        return Some(Step::Field(field.into()));
    }
    let filter = inside.strip_prefix("?(")?.strip_suffix(')')?;
    let (field, is_equal, constant) = match filter.split_once("==") {
        Some((field, constant)) => (field, true, constant),
        None => filter.split_once("!=").map(|(field, constant)| (field, false, constant))?,
    };
    let field = field.trim().strip_prefix("@.")?.split('.').map(Into::into).collect();
    let constant = constant.trim();
    let constant = unquoted(constant).map(Value::from).or_else(|| serde_json::from_str(constant).ok())?;
    Some(Step::Where { field, is_equal, constant })
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str, object: &Value) -> Vec<Value> {
        Path::parse(path).expect("a path").find(object).into_iter().cloned().collect()
    }

    #[test]
    fn a_filter_finds_the_condition_it_names() {
        let object = json!({ "status": { "conditions": [
            { "type": "Stalled", "status": "False" }, { "type": "Ready", "status": "True" },
        ] } });
        assert_eq!(found(r#".status.conditions[?(@.type=="Ready")].status"#, &object), [json!("True")]);
    }

    #[test]
    fn indices_count_from_either_end() {
        let object = json!({ "list": [1, 2, 3] });
        assert_eq!(found(".list[0]", &object), [json!(1)]);
        assert_eq!(found(".list[-1]", &object), [json!(3)]);
        assert_eq!(found(".list[*]", &object), [json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn a_dot_in_a_name_is_escaped_or_quoted() {
        let object = json!({ "a.b": 7 });
        assert_eq!(found(r".a\.b", &object), [json!(7)]);
        assert_eq!(found("['a.b']", &object), [json!(7)]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(found(".status.nothing", &json!({})), Vec::<Value>::new());
    }

    #[test]
    fn an_open_bracket_is_refused() {
        assert!(Path::parse(".list[0").is_err());
    }
}
