//! The options that stand in a request's query, read once into types.

use super::failure::Failure;
use crate::schema::Cause;

/// A query, as pairs.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The value of an option that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// `?watch`, `?watch=1` and `?watch=true` all say yes.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.is_some_and(|value| !matches!(value, "false" | "0" | "f" | "F" | "FALSE" | "False"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text
            .parse()
            .map_err(|_| Failure::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?;
        Ok(Some(number))
    }

    /// `resourceVersion`; `None` when none is asked for.
    pub(crate) fn version(&self) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get("resourceVersion") else { return Ok(None) };
        let version = text.parse().map_err(|_| {
            Failure::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })?;
        Ok(Some(version))
    }
}

impl Query {
    /// `resourceVersion` of a watch or of one object, of which the API server says it otherwise.
    pub(crate) fn exact_version(&self) -> Result<Option<u64>, Failure> {
        self.version().map_err(|failure| failure.unnamed("invalid resource version: "))
    }
}

/// What to do with fields that are not in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The options of a write.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    pub(crate) is_dry_run: bool,
    pub(crate) manager: String,
    /// Whether the client named the manager, which an apply must.
    pub(crate) is_manager_named: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) is_forced: bool,
}

/// The longest name of a manager.
const MAX_MANAGER: usize = 128;

impl WriteOptions {
    /// Of a query; without a manager in it, the first word of the `User-Agent` is one. `kind` is what refusals name.
    pub(crate) fn of(query: &Query, user_agent: &str, kind: &str) -> Result<Self, Failure> {
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = r#""", "Ignore", "Strict", "Warn""#;
                return Err(Failure::invalid_options(kind, &not_supported("fieldValidation", other, supported)));
            }
        };
        let named = query.get("fieldManager");
        let manager = named.unwrap_or_else(|| user_agent.split(['/', ' ']).next().unwrap_or_default());
        let manager = if manager.is_empty() { "unknown" } else { manager };
        if manager.len() > MAX_MANAGER {
            let cause = Cause {
                reason: "FieldValueTooLong",
                message: format!("Too long: may not be more than {MAX_MANAGER} bytes"),
                field: "fieldManager".into(),
            };
            return Err(Failure::invalid_options(kind, &cause));
        }
        Ok(Self {
            is_dry_run: is_dry_run(query, kind)?,
            manager: manager.into(),
            is_manager_named: named.is_some(),
            validation,
            is_forced: query.is_set("force"),
        })
    }
}

/// Whether `dryRun=All` is asked for.
pub(crate) fn is_dry_run(query: &Query, kind: &str) -> Result<bool, Failure> {
    match query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => {
            Err(Failure::invalid_options(kind, &not_supported_in("dryRun", &format!("[{other:?}]"), r#""All""#)))
        }
    }
}

/// An option has a value that is none of its choices.
pub(crate) fn not_supported(option: &str, value: &str, supported: &str) -> Cause {
    not_supported_in(option, &format!("{value:?}"), supported)
}

/// The same of a value that is shown already.
fn not_supported_in(option: &str, value: &str, supported: &str) -> Cause {
    let message = format!("Unsupported value: {value}: supported values: {supported}");
    Cause { reason: "FieldValueNotSupported", message, field: option.into() }
}
