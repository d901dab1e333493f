//! LIST: in pages that all tell of one version.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;

use crate::api::failure::Failure;
use crate::api::kinds::Kind;
use crate::api::object::{Key, Object};
use crate::api::query::{self, Query};
use crate::api::select::Selection;
use crate::api::show::form::ListMeta;
use crate::api::state::State;
use crate::schema::Cause;

/// One page.
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) meta: ListMeta,
}

/// Where the next page starts: after `key`, as of `version`.
struct Continue {
    version: u64,
    after: Key,
}

impl Continue {
    fn token(&self) -> String {
        let text = format!("{}\n{}\n{}", self.version, self.after.namespace, self.after.name);
        BASE64URL_NOPAD.encode(text.as_bytes())
    }

    fn parse(token: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64URL_NOPAD.decode(token.as_bytes()).ok()?).ok()?;
        let mut lines = text.split('\n');
        let version = lines.next()?.parse().ok()?;
        Some(Self { version, after: Key::new(lines.next()?, lines.next()?) })
    }
}

pub(crate) fn list(state: &State, kind: &Kind, selection: &Selection, query: &Query) -> Result<Page, Failure> {
    let asked = query.version()?;
    check_options(query)?;
    let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let from = match query.get("continue") {
        None => None,
        Some(token) => {
            let parsed = Continue::parse(token);
            Some(
                parsed
                    .ok_or_else(|| Failure::bad_request("continue key is not valid: it was not made by this server"))?,
            )
        }
    };
    let exact = match query.get("resourceVersionMatch") {
        Some("Exact") => asked,
        _ => None,
    };
    if let Some(asked) = asked.filter(|asked| *asked > state.version()) {
        return Err(Failure::too_new(asked, state.version()));
    }
    let version = from.as_ref().map(|from| from.version).or(exact).unwrap_or(state.version());
    let after = from.map(|from| from.after);
    if version == state.version() {
        return Ok(page(state.objects(kind.table), selection, after, limit, version));
    }
    let mut objects = state.objects(kind.table).clone();
    if !state.past(kind.table).rewind(&mut objects, version) {
        return Err(Failure::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        ));
    }
    Ok(page(&objects, selection, after, limit, version))
}

/// Refuses options that don't go together.
fn check_options(query: &Query) -> Result<(), Failure> {
    let version = query.get("resourceVersion");
    let is_from_start = query.get("continue").is_none();
    let rule = query.get("resourceVersionMatch");
    if !is_from_start && version.is_some_and(|version| version != "0") {
        return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
    }
    let forbid = |field: &str, why: &str| {
        let message = format!("Forbidden: {why}");
        Err(Failure::invalid_options(
            "ListOptions",
            &Cause { reason: "FieldValueForbidden", message, field: field.into() },
        ))
    };
    if query.get("sendInitialEvents").is_some() {
        return forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    let Some(rule) = rule else { return Ok(()) };
    if version.is_none() {
        return forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if !matches!(rule, "Exact" | "NotOlderThan") {
        let cause = query::not_supported("resourceVersionMatch", rule, r#""Exact", "NotOlderThan", """#);
        return Err(Failure::invalid_options("ListOptions", &cause));
    }
    Ok(())
}

/// The objects of a selection, all of them.
pub(crate) fn all(objects: &BTreeMap<Key, Arc<Object>>, selection: &Selection) -> Vec<Arc<Object>> {
    page(objects, selection, None, None, 0).objects
}

fn page(
    objects: &BTreeMap<Key, Arc<Object>>,
    selection: &Selection,
    after: Option<Key>,
    limit: Option<usize>,
    version: u64,
) -> Page {
    let namespace = selection.namespace();
    let start = match after {
        Some(key) => Bound::Excluded(key),
        None => Bound::Included(Key::new(namespace, "")),
    };
    let mut meant = objects
        .range((start, Bound::Unbounded))
        .take_while(|(key, _)| namespace.is_empty() || key.namespace == namespace)
        .filter(|(_, object)| selection.is_everything() || selection.has(&object.value))
        .map(|(_, object)| object);
    let objects: Vec<Arc<Object>> = meant.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
    let remaining = meant.count();
    let next = objects.last().filter(|_| remaining > 0).map(|last| {
        let after = Key::of(&last.value);
        Continue { version, after }.token()
    });
    let remaining = selection.is_everything().then_some(remaining);
    Page { objects, meta: ListMeta { version, next, remaining } }
}
