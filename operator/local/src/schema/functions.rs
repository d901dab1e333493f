//! The functions that rules may call: kube-cel's, with `matches` of our own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::extractors::This;
use kube_cel::cel::{Context, ExecutionError, FunctionContext};
use regex::Regex;

/// Patterns that are kept compiled; beyond, all are forgotten, so that patterns made of an object's texts can't pile up.
const MAX_PATTERNS: usize = 1000;

/// All functions.
pub(super) fn all() -> Context<'static> {
    let mut functions = Context::default().with_all();
    functions.add_function("matches", matches);
    functions
}

/// Whether a text has a part that matches a pattern.
///
/// cel compiles the pattern on each call, which is nine tenths of the time that our rules take.
#[allow(clippy::needless_pass_by_value, reason = "cel hands a function its arguments so")]
fn matches(
    context: &FunctionContext,
    This(text): This<Arc<String>>,
    pattern: Arc<String>,
) -> Result<bool, ExecutionError> {
    thread_local! {
        static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(compiled) = patterns.get(pattern.as_str()) {
            return Ok(compiled.is_match(&text));
        }
        let compiled = Regex::new(&pattern).map_err(|error| context.error(format!("'{pattern}': {error}")))?;
        let is_match = compiled.is_match(&text);
        if patterns.len() >= MAX_PATTERNS {
            patterns.clear();
        }
        patterns.insert(pattern.as_str().to_owned(), compiled);
        Ok(is_match)
    })
}
