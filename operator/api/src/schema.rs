//! Pieces of schema that several fields share: rules in CEL with the messages that users read.
//!
//! A message names the field, says what it must be, and where it helps, what to do instead.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The value of `x-kubernetes-validations`: rules in CEL, each with its message.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

/// What a UUID looks like. Names may not, since a reference is first tried as a uid.
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// The name of a branch.
pub(crate) fn branch_name(field: &str) -> Value {
    json!([
        {
            "rule": "self.matches('^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$')",
            "message": format!("{field} must be a branch: up to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends"),
        },
        { "rule": format!("!self.matches('{UUID}')"), "message": format!("{field} may not have the form of a UUID, which means a Commit's uid") },
    ])
}

/// The name of a Repo or Commit object.
pub(crate) fn object_name(field: &str) -> Value {
    json!([
        {
            "rule": "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')",
            "message": format!("{field} must be the name of an object: up to 52 lower-case letters, digits, '-' and '.', with a letter or digit at both ends"),
        },
        { "rule": format!("!self.matches('{UUID}')"), "message": format!("{field} may not have the form of a UUID, which means a Commit's uid") },
    ])
}

/// The name of a Pipeline.
pub(crate) fn pipeline_name(field: &str) -> Value {
    json!([{
        "rule": "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
        "message": format!("{field} must be the name of a Pipeline: up to 52 lower-case letters, digits and '-', with a letter or digit at both ends"),
    }])
}

/// A reference to a Commit: its uid, a branch, or the name of a Commit object.
pub(crate) fn commit_reference(field: &str) -> Value {
    json!([{
        "rule": "self.matches('^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$')",
        "message": format!("{field} must be a Commit's uid, a branch, or the name of a Commit object"),
    }])
}

/// An absolute path in a Repo.
pub(crate) fn path(field: &str) -> Value {
    json!([
        { "rule": "self.startsWith('/') && !self.startsWith('//')", "message": format!("{field} must begin with exactly one /") },
        { "rule": "self == '/' || !self.endsWith('/')", "message": format!("{field} may not end in /") },
        {
            "rule": "!self.contains('//') && !(self + '/').contains('/./') && !(self + '/').contains('/../')",
            "message": format!("{field} may not have an empty part, '.' or '..' between its slashes"),
        },
        { "rule": "!self.contains('\\u0000')", "message": format!("{field} may not contain the character NUL") },
    ])
}

/// Variables by which shells and interpreters are told how to run: with the path of an input in one of them, a program
/// would read its start-up files or libraries from the data, or split words at `/`.
const INTERPRETERS_OWN: [&str; 17] = [
    "IFS",
    "ENV",
    "PS4",
    "CDPATH",
    "BASH_ENV",
    "BASHOPTS",
    "SHELLOPTS",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5OPT",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "NODE_OPTIONS",
    "NODE_PATH",
    "JAVA_TOOL_OPTIONS",
];

/// The name of an input, which is also a folder under `/pfs` and an environment variable.
pub(crate) fn input_name(field: &str) -> Value {
    let interpreters_own = INTERPRETERS_OWN.map(|name| format!("'{name}'")).join(", ");
    json!([
        {
            "rule": "self.matches('^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$')",
            "message": format!("{field} must be up to 63 letters, digits, '-' and '_', with a letter or digit at both ends"),
        },
        {
            "rule": "!(self in ['out', 'PATH', 'HOME']) && !self.startsWith('LD_') && !self.startsWith('VARVE_') && !self.startsWith('PACH_') && !self.startsWith('KUBERNETES_') && !self.endsWith('_COMMIT')",
            "message": format!("{field} may not be out, PATH, HOME, LD_*, VARVE_*, PACH_*, KUBERNETES_* or *_COMMIT, which mean something else to the code that runs"),
        },
        {
            "rule": format!("!(self in [{interpreters_own}])"),
            "message": format!("{field} may not be {}: by these, shells and interpreters are told how to run", INTERPRETERS_OWN.join(", ")),
        },
    ])
}

/// The schema of `status.conditions`: metav1.Condition as a map by type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "Which aspect." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the spec that it speaks of." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When status last changed." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "description": "Why, in a word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, in a sentence." },
            },
        },
    })
}
