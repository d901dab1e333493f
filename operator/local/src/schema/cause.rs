//! What is wrong with a field, and where it lies, in the API server's words.

use serde_json::Value;

use super::words::{bad_value, quoted};

/// One thing that is wrong with an object, as a `Status` lists it in `details.causes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    pub reason: &'static str,
    /// The API server's words, as `Invalid value: "x": must be …`.
    pub message: String,
    /// `spec.inputs[0].name`, or `<nil>` for the object itself.
    pub field: String,
}

/// The way to a field; written out only once something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    /// An entry of a map, as the CEL rules and the list types write it: `spec.limits[cpu]`.
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// As in messages, where the object itself is the empty text.
    pub(super) fn name(&self) -> String {
        match self {
            Path::Root => String::new(),
            Path::Field(Path::Root, name) => (*name).to_owned(),
            Path::Field(parent, name) => format!("{}.{name}", parent.name()),
            Path::Key(parent, key) => format!("{}[{key}]", parent.name()),
            Path::Index(parent, index) => format!("{}[{index}]", parent.name()),
        }
    }

    /// As a cause's `field`.
    fn field(&self) -> String {
        match self {
            Path::Root => "<nil>".into(),
            path => path.name(),
        }
    }
}

impl Cause {
    pub(super) fn required(path: &Path, detail: &str) -> Self {
        Self::plain("FieldValueRequired", "Required value", path, detail)
    }

    pub(super) fn forbidden(path: &Path, detail: &str) -> Self {
        Self::plain("FieldValueForbidden", "Forbidden", path, detail)
    }

    /// Invalid, without the value, which is how objects and lists are told.
    pub(super) fn invalid_whole(path: &Path, detail: &str) -> Self {
        Self::plain("FieldValueInvalid", "Invalid value", path, detail)
    }

    pub(super) fn too_long(path: &Path, most: u64) -> Self {
        let unit = if most == 1 { "byte" } else { "bytes" };
        Self::plain("FieldValueTooLong", "Too long", path, &format!("may not be more than {most} {unit}"))
    }

    pub(super) fn too_many(path: &Path, count: usize, most: u64) -> Self {
        let unit = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {unit}");
        Self::valued("FieldValueTooMany", "Too many", path, &Value::from(count), &detail)
    }

    pub(super) fn invalid(path: &Path, value: &Value, detail: &str) -> Self {
        Self::valued("FieldValueInvalid", "Invalid value", path, value, detail)
    }

    /// `found` is the name of the type that was found.
    pub(super) fn wrong_type(path: &Path, found: &str, detail: &str) -> Self {
        Self::valued("FieldValueTypeInvalid", "Invalid value", path, &Value::from(found), detail)
    }

    pub(super) fn duplicate(path: &Path, value: &Value) -> Self {
        Self::valued("FieldValueDuplicate", "Duplicate value", path, value, "")
    }

    pub(super) fn duplicate_whole(path: &Path) -> Self {
        Self::plain("FieldValueDuplicate", "Duplicate value", path, "")
    }

    pub(super) fn not_supported(path: &Path, value: &Value, supported: &[Value]) -> Self {
        let supported: Vec<String> =
            supported.iter().map(|value| value.as_str().map_or_else(|| quoted(&value.to_string()), quoted)).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::valued("FieldValueNotSupported", "Unsupported value", path, value, &detail)
    }

    pub(super) fn rules_not_checked() -> Self {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                      errors to complete validation";
        Self::invalid(&Path::Root, &Value::Null, detail)
    }

    /// Whether rules could stumble over what is wrong, so that they are not run.
    pub(crate) fn hides_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }

    /// The same thing at a field below the one that it was found at.
    pub(super) fn below(mut self, field: &str) -> Self {
        if self.field == "<nil>" {
            field.clone_into(&mut self.field);
        } else {
            self.field = format!("{}.{field}", self.field);
        }
        self
    }

    fn valued(reason: &'static str, title: &str, path: &Path, value: &Value, detail: &str) -> Self {
        Self::plain(reason, &format!("{title}: {}", bad_value(value)), path, detail)
    }

    fn plain(reason: &'static str, title: &str, path: &Path, detail: &str) -> Self {
        let message = if detail.is_empty() { title.to_owned() } else { format!("{title}: {detail}") };
        Self { reason, message, field: path.field() }
    }
}
