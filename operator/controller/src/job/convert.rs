//! Between the store's entries, the engine's objects and the plan's members: the same facts, three owners.

use varve_engine::{
    Object,
    datums::{Datum, DatumMember},
    glob::{Depth as GlobDepth, Glob},
    matches::Change as EngineChange,
};
use varve_format::{
    Totals,
    records::{PlanDatum, PlanMember},
};
use varve_store::{Change, Depth, Entry};

/// How far down a diff must go for the matches of `glob`.
pub(crate) fn depth(glob: &Glob) -> Depth {
    match glob.depth() {
        GlobDepth::Exactly(names) => Depth::Components(u32::try_from(names).unwrap_or(u32::MAX)),
        GlobDepth::AnyFile => Depth::Full,
    }
}

/// The engine's view of an entry.
pub(crate) fn object(entry: &Entry) -> Object {
    Object { kind: entry.kind(), id: entry.id(), files: entry.files(), bytes: entry.bytes(), at: entry.at().clone() }
}

/// The store's view of an object; none for what is no entry of a tree.
pub(crate) fn entry(object: &Object) -> Option<Entry> {
    let totals = Totals { files: object.files, bytes: object.bytes };
    Entry::from_parts(object.kind, object.id, totals, object.at.clone())
}

/// The engine's view of a difference.
pub(crate) fn change(change: Change) -> EngineChange {
    EngineChange {
        path: change.path,
        before: change.before.as_ref().map(object),
        after: change.after.as_ref().map(object),
    }
}

/// A datum as the keepers read it.
pub(crate) fn plan_datum(datum: &Datum, tries_used: u32) -> PlanDatum {
    PlanDatum {
        key: datum.key.as_bytes().to_vec(),
        hash: datum.hash.to_vec(),
        members: datum.members.iter().map(plan_member).collect(),
        tries_used,
    }
}

fn plan_member(member: &DatumMember) -> PlanMember {
    let base = PlanMember { input: member.input.clone(), mount: member.mount.clone(), ..PlanMember::default() };
    let Some(found) = &member.found else { return PlanMember { absent: true, ..base } };
    PlanMember {
        path: found.path.as_str().to_owned(),
        kind: u8::from(found.object.kind).into(),
        id: found.object.id.to_vec(),
        files: found.object.files,
        bytes: found.object.bytes,
        at: found.object.at.to_vec(),
        ..base
    }
}
