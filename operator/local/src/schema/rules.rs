//! CEL rules of a schema (`x-kubernetes-validations`): compiled once, run against each object.
//!
//! As in the API server, a rule that looks at `oldSelf` runs only where there is an older value of the same field, and
//! what a rule without `oldSelf` finds in an unchanged part is let through. Budgets of cost are not kept.

use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

use super::SchemaError;
use super::cause::{Cause, Path};
use super::cel_value::{in_order_of, to_cel};
use super::functions;
use super::lists::same_item;
use super::node::{Node, Rest, Type};

/// One rule of a schema.
pub(super) struct Rule {
    program: Program,
    text: String,
    message: Option<String>,
    message_program: Option<Program>,
    reason: Option<String>,
    /// Where the cause points to, below the field that has the rule.
    field_path: Option<String>,
    uses_old: bool,
    has_optional_old: bool,
}

impl Rule {
    pub(super) fn all_of(schema: &Value) -> Result<Vec<Self>, SchemaError> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.map(Self::parse).collect()
    }

    fn parse(rule: &Value) -> Result<Self, SchemaError> {
        let text = |name: &str| rule[name].as_str().map(|text| text.trim().to_owned());
        let compile =
            |source: &str| Program::compile(source).map_err(|error| SchemaError(format!("rule {source}: {error}")));
        let source = text("rule").ok_or_else(|| SchemaError(format!("rule {rule} has no text")))?;
        let program = compile(&source)?;
        let message_program = text("messageExpression").map(|source| compile(&source)).transpose()?;
        let sees_old = |program: &Program| program.references().has_variable("oldSelf");
        Ok(Self {
            uses_old: sees_old(&program),
            program,
            message: text("message").filter(|message| !message.is_empty()),
            message_program,
            reason: text("reason"),
            field_path: text("fieldPath").map(|path| path.trim_start_matches('.').to_owned()),
            has_optional_old: rule["optionalOldSelf"] == true,
            text: source,
        })
    }

    /// What messages call the rule.
    fn name(&self) -> &str {
        self.message.as_ref().unwrap_or(&self.text)
    }

    fn runs_on(&self, old: Option<&Value>, is_unchanged: bool) -> bool {
        if self.uses_old { old.is_some() || self.has_optional_old } else { !is_unchanged }
    }
}

/// A value and what it was before.
#[derive(Clone, Copy)]
struct Change<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
    is_unchanged: bool,
}

impl<'a> Change<'a> {
    fn below(self, new: &'a Value, old: Option<&'a Value>) -> Self {
        Self { new, old, is_unchanged: self.is_unchanged || old == Some(new) }
    }
}

/// Runs the rules of an object and adds what they find.
pub(super) fn check(root: &Node, new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    thread_local! {
        // Registering the functions costs more than most rules do.
        static FUNCTIONS: Context<'static> = functions::all();
    }
    FUNCTIONS.with(|functions| {
        walk(root, Change { new, old, is_unchanged: old == Some(new) }, &Path::Root, &mut Run { functions, causes });
    });
}

struct Run<'a> {
    functions: &'a Context<'static>,
    causes: &'a mut Vec<Cause>,
}

fn walk(node: &Node, change: Change, at: &Path, run: &mut Run) {
    if !node.has_rules || change.new.is_null() {
        return;
    }
    if node.rules.iter().any(|rule| rule.runs_on(change.old, change.is_unchanged)) {
        check_rules(node, change, at, run);
    }
    match change.new {
        Value::Array(items) => {
            let Some(below) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                let old = change.old.and_then(|old| same_item(node, old, item));
                walk(below, change.below(item, old), &Path::Index(at, index), run);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let old = change.old.and_then(|old| old.get(name));
                if let Some(below) = node.properties.get(name) {
                    walk(below, change.below(value, old), &Path::Field(at, name), run);
                } else if let Rest::Of(below) = &node.rest {
                    walk(below, change.below(value, old), &Path::Key(at, name), run);
                }
            }
        }
        _ => {}
    }
}

fn check_rules(node: &Node, change: Change, at: &Path, run: &mut Run) {
    let mut plain = run.functions.new_inner_scope();
    let this = to_cel(change.new, Some(node));
    let old = change.old.map(|old| {
        if change.is_unchanged { this.clone() } else { to_cel(&in_order_of(old, change.new, node), Some(node)) }
    });
    plain.add_variable_from_value("self", this);
    if let Some(old) = &old {
        plain.add_variable_from_value("oldSelf", old.clone());
    }
    let mut optional = plain.new_inner_scope();
    let old = old.map_or_else(OptionalValue::none, OptionalValue::of);
    optional.add_variable_from_value("oldSelf", Cel::Opaque(std::sync::Arc::new(old)));

    for rule in node.rules.iter().filter(|rule| rule.runs_on(change.old, change.is_unchanged)) {
        let scope = if rule.has_optional_old { &optional } else { &plain };
        match rule.program.execute(scope) {
            Ok(Cel::Bool(true)) => {}
            Ok(_) => run.causes.push(broken(rule, node, change.new, at, scope)),
            Err(error) => run.causes.push(failed(rule, node, at, &error)),
        }
    }
}

fn broken(rule: &Rule, node: &Node, value: &Value, at: &Path, scope: &Context) -> Cause {
    let detail = rule
        .message_program
        .as_ref()
        .and_then(|program| spoken(program, scope))
        .or_else(|| rule.message.clone())
        .unwrap_or_else(|| format!("failed rule: {}", rule.text));
    let is_whole = matches!(node.kind, Type::Object | Type::Array);
    let cause = match rule.reason.as_deref() {
        Some("FieldValueForbidden") => Cause::forbidden(at, &detail),
        Some("FieldValueRequired") => Cause::required(at, &detail),
        Some("FieldValueDuplicate") if is_whole => Cause::duplicate_whole(at),
        Some("FieldValueDuplicate") => Cause::duplicate(at, value),
        _ if is_whole => Cause::invalid_whole(at, &detail),
        _ => Cause::invalid(at, value, &detail),
    };
    match &rule.field_path {
        Some(field) => cause.below(field),
        None => cause,
    }
}

/// A message that an expression gives, if it gives one that the API server would take.
fn spoken(program: &Program, scope: &Context) -> Option<String> {
    const MAX_BYTES: usize = 5 * 1024;
    let Ok(Cel::String(text)) = program.execute(scope) else { return None };
    let text = text.trim();
    (!text.is_empty() && !text.contains('\n') && text.len() <= MAX_BYTES).then(|| text.to_owned())
}

fn failed(rule: &Rule, node: &Node, at: &Path, error: &ExecutionError) -> Cause {
    let detail = match error {
        ExecutionError::NoSuchOverload | ExecutionError::ValuesNotComparable(..) => format!(
            "'no such overload': call arguments did not match a supported operator, function or macro signature for \
             rule: {}",
            rule.name()
        ),
        error => {
            let text = error.to_string();
            let mut words = text.chars();
            let first = words.next().map(|c| c.to_ascii_lowercase());
            let lower: String = first.into_iter().chain(words).collect();
            format!("{lower} evaluating rule: {}", rule.name())
        }
    };
    Cause::invalid(at, &Value::from(node.kind.name()), &detail)
}
