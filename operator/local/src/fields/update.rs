//! What an update, a patch or a create makes of who manages what: what it changed is the writer's.

use serde_json::Value;

use super::compare::Comparison;
use super::managers::{Entry, Manager, Managers, out_of_reach, time_of, trackable};
use super::typed::Typed;
use super::{Writer, nothing_of, take_managed_fields};
use crate::schema::Schema;

/// `new` with `managedFields` that say what `writer` changed, after an update, patch or create.
///
/// A `new` whose `managedFields` are empty, or one empty entry, has them reset; other entries in it are believed,
/// except on a subresource.
#[must_use]
pub fn update(schema: &Schema, live: Option<&Value>, mut new: Value, writer: Writer<'_>) -> Value {
    let sent = take_managed_fields(&mut new);
    let mut before = live.cloned().unwrap_or_else(|| nothing_of(&new));
    let had = take_managed_fields(&mut before);

    let mut managers = believed(sent.as_ref(), had.as_ref(), writer.subresource.is_some());
    // An object that nobody's fields are known of stays so until somebody applies.
    let is_tracked = live.is_none() || !managers.is_empty();
    if is_tracked {
        record(schema, (&before, &new), &mut managers, &writer);
        managers.cap();
    }
    managers.write_to(&mut new);
    new
}

/// `new` with `managedFields` that say what `writer` made, after a create. `nothing` is what stands there before: Go's
/// empty value of the kind, of which some fields are always there and nobody's.
#[must_use]
pub fn create(schema: &Schema, nothing: Value, mut new: Value, writer: Writer<'_>) -> Value {
    let sent = take_managed_fields(&mut new);
    let mut managers = believed(sent.as_ref(), None, false);
    let mut before = nothing_of(&new);
    if let (Value::Object(before), Value::Object(nothing)) = (&mut before, nothing) {
        before.extend(nothing);
    }
    record(schema, (&before, &new), &mut managers, &writer);
    managers.write_to(&mut new);
    new
}

/// The managers before a write: those that the request names, or else those that the object has.
fn believed(sent: Option<&Value>, had: Option<&Value>, is_subresource: bool) -> Managers {
    let had = || Managers::decode(had).unwrap_or_default();
    if is_subresource {
        return had();
    }
    let Some(Value::Array(sent)) = sent else { return had() };
    let is_reset = match sent.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    };
    if is_reset {
        return Managers::default();
    }
    Managers::decode(Some(&Value::Array(sent.clone()))).filter(|sent| !sent.is_empty()).unwrap_or_else(had)
}

/// Gives what changed to the writer and takes it from all others.
pub(super) fn record(schema: &Schema, (old, new): (&Value, &Value), managers: &mut Managers, writer: &Writer) {
    let all = Comparison::between(Typed::of(schema.root()), old, new);
    let changes = all.without(&out_of_reach(schema, writer));
    managers.lose(None, &changes);
    let taken = trackable(&changes.modified.union(&changes.added));
    if taken.is_empty() {
        return;
    }
    let mine = managers.0.entry(Manager::updating(writer)).or_default();
    // The API server writes down no time for what came by way of a scale.
    let time = (writer.subresource != Some("scale")).then(|| time_of(writer));
    *mine = Entry { set: taken.union(&mine.set), api_version: writer.api_version.to_owned(), time };
}
