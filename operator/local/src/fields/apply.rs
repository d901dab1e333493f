//! Server-side apply: merges what a manager wants into what stands, and settles who manages what.

use serde_json::Value;

use super::collect::fields_of;
use super::compare::Comparison;
use super::managers::{Entry, Manager, Managers, out_of_reach, time_of, told, trackable};
use super::merge::merged;
use super::remove::without;
use super::set::Set;
use super::typed::Typed;
use super::{Conflicts, Writer, last_applied, nothing_of, take_managed_fields, update};
use crate::schema::Schema;

/// The object after `applied` is applied to `live`.
///
/// What the manager applied before and no longer does goes, unless others manage it. If nothing changes, the times in
/// `managedFields` stay. Fails if a field that others manage would change, unless `force`, which takes it from them.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Conflicts> {
    let mut before = live.cloned().unwrap_or_else(|| nothing_of(applied));
    let had = take_managed_fields(&mut before);
    let mut managers = Managers::decode(had.as_ref()).unwrap_or_default();
    if managers.is_empty() {
        let unknown = Writer { manager: "before-first-apply", ..writer };
        update::record(schema, (&nothing_of(&before), &before), &mut managers, &unknown);
    }
    let mut request = Request { schema, before: &before, applied, writer };
    let mut object = match request.settle(managers.clone(), force) {
        Err(conflicts) if last_applied::explains(&request, &conflicts) => request.settle(managers, true),
        settled => settled,
    }
    .map_err(|conflicts| conflicts.told)?;
    if writer.manager == last_applied::MANAGER {
        last_applied::renew(&mut object.value, applied);
    }
    object.managers.write_to(&mut object.value);
    Ok(object.value)
}

/// An apply, and what it is applied to.
pub(super) struct Request<'a> {
    pub(super) schema: &'a Schema,
    /// Without `managedFields`.
    pub(super) before: &'a Value,
    pub(super) applied: &'a Value,
    pub(super) writer: Writer<'a>,
}

/// What comes of it.
struct Settled {
    value: Value,
    managers: Managers,
}

/// Why nothing does.
pub(super) struct Refused {
    pub(super) fields: Set,
    told: Conflicts,
}

impl Request<'_> {
    fn settle(&mut self, mut managers: Managers, force: bool) -> Result<Settled, Refused> {
        let typed = Typed::of(self.schema.root());
        let out_of_reach = out_of_reach(self.schema, &self.writer);
        let me = Manager::applying(&self.writer);
        let mine = fields_of(typed, self.applied).recursive_difference(&out_of_reach);
        let last = managers.0.remove(&me);
        let time = last.as_ref().and_then(|last| last.time.clone());
        let entry = Entry { set: mine.clone(), api_version: self.writer.api_version.to_owned(), time };
        managers.0.insert(me.clone(), entry);

        let all = merged(typed, self.before, self.applied);
        let value = match last {
            // As nearly always, what it applied before it applies again.
            Some(last) if !last.set.difference(&mine).is_empty() => let_go(typed, all, &last.set, &managers.all()),
            _ => all,
        };
        let changes = Comparison::between(typed, self.before, &value).without(&out_of_reach);
        let conflicts = managers.conflicts(&me, &changes);
        if !force && !conflicts.is_empty() {
            let fields = conflicts.iter().fold(Set::default(), |all, (_, set)| all.union(set));
            return Err(Refused { fields, told: told(&conflicts) });
        }
        managers.lose(Some(&me), &changes);
        self.keep(&me, &mut managers, value != *self.before);
        Ok(Settled { value, managers })
    }

    /// Writes down what the manager has now.
    fn keep(&self, me: &Manager, managers: &mut Managers, is_changed: bool) {
        let Some(mut entry) = managers.0.remove(me) else { return };
        entry.set = trackable(&entry.set);
        if is_changed {
            entry.time = Some(time_of(&self.writer));
        }
        if !entry.set.is_empty() {
            managers.0.insert(me.clone(), entry);
        }
    }
}

/// `all` without what the manager applied the last time (`last`) and nobody manages now.
fn let_go(typed: Typed, all: Value, last: &Set, managed: &Set) -> Value {
    let named = |set: Set| set.with_named_fields(Some(typed));
    let fields = |value: &Value| named(fields_of(typed, value));
    let without = |set: &Set| without(typed, &all, set).unwrap_or(Value::Null);

    let (last, managed) = (named(last.clone()), named(managed.clone()));
    let have = fields(&all);
    // Items and fields that others manage come back, with all that lies on the way to them.
    let kept = fields(&without(&last)).union(&managed);
    let kept = fields(&without(&have.difference(&kept)));
    // What the manager never had stays too.
    let gone = have.difference(&kept).intersection(&last);
    if gone.is_empty() { all } else { without(&gone) }
}
