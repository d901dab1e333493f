//! What follows from a deletion: dependents go after their owners, namespaces are emptied.
//!
//! Writes note chores down; [`run`] does them one by one, in the order in which they came, so a simulation sees the
//! same order each time. It is the work of the garbage collector and of the namespace controller in a cluster.

use serde_json::{Value, json};

use super::object::{self, Key};
use super::state::{Place, State};
use super::verbs::delete::{self, DeleteOptions, Propagation, set_finalizers};
use super::verbs::{Part, Target, World, change};

/// The finalizer of an owner that waits for its dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to be let go.
pub(crate) const ORPHAN: &str = "orphan";

/// One thing to look after.
#[derive(Debug, Clone)]
pub(crate) enum Chore {
    /// An object is gone: what depends on it, what waited for it, and the namespace that it was in.
    Gone { uid: String, owners: Vec<String>, namespace: String },
    /// An object was written: are its owners there?
    Examine(Place),
    /// An object is on its way out: has the collector to let it go?
    Finalize(Place),
    /// A namespace is on its way out.
    Empty(String),
}

/// Does all there is to do.
pub(crate) fn run(state: &mut State, world: &World<'_>) {
    while let Some(chore) = state.chores.pop_front() {
        match chore {
            Chore::Gone { uid, owners, namespace } => {
                state.chores.extend(state.dependents(&uid).into_iter().map(Chore::Examine));
                let waiting: Vec<Place> = owners.iter().filter_map(|owner| state.find_uid(owner).cloned()).collect();
                state.chores.extend(waiting.into_iter().map(Chore::Finalize));
                if is_namespace_ending(state, &namespace) {
                    state.chores.push_back(Chore::Empty(namespace));
                }
            }
            Chore::Examine(place) => examine(state, world, &place),
            Chore::Finalize(place) => finalize(state, world, &place),
            Chore::Empty(namespace) => empty(state, world, &namespace),
        }
    }
}

/// How an owner of an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    There,
    /// It waits for its dependents to go.
    Waiting,
    Gone,
}

fn examine(state: &mut State, world: &World<'_>, place: &Place) {
    let Some(object) = state.get(place).cloned() else { return };
    let owners = object::owner_references(&object.value);
    if object::is_deleting(&object.value) {
        state.chores.push_back(Chore::Finalize(place.clone()));
        return;
    }
    if owners.is_empty() {
        return;
    }
    let standings: Vec<Standing> = owners.iter().map(|owner| standing(state, owner, &place.key)).collect();
    let is_owned = standings.contains(&Standing::There);
    let is_awaited = standings.contains(&Standing::Waiting);
    if is_owned {
        if standings.iter().any(|one| *one != Standing::There) {
            let kept: Vec<Value> = owners
                .iter()
                .zip(&standings)
                .filter(|(_, standing)| **standing == Standing::There)
                .map(|(owner, _)| owner.clone())
                .collect();
            set_owners(state, place, kept);
        }
        return;
    }
    let has_dependents = !state.dependents(object::uid(&object.value)).is_empty();
    let propagation = if is_awaited && has_dependents { Propagation::Foreground } else { Propagation::Background };
    let is_orphaning = object::has_finalizer(&object.value, ORPHAN);
    delete(state, world, place, (!is_orphaning).then_some(propagation));
}

fn standing(state: &State, owner: &Value, dependent: &Key) -> Standing {
    let of = |field: &str| owner[field].as_str().unwrap_or_default();
    let Some(kind) = state.kinds.find_kind(of("apiVersion"), of("kind")) else {
        // Owners of kinds that are not served are somebody else's to look after.
        return Standing::There;
    };
    let namespace = if kind.is_namespaced { dependent.namespace.as_str() } else { "" };
    let place = Place { table: kind.table, key: Key::new(namespace, of("name")) };
    match state.get(&place) {
        Some(found) if object::uid(&found.value) == of("uid") => {
            let is_waiting = object::is_deleting(&found.value) && object::has_finalizer(&found.value, FOREGROUND);
            if is_waiting { Standing::Waiting } else { Standing::There }
        }
        _ => Standing::Gone,
    }
}

fn finalize(state: &mut State, world: &World<'_>, place: &Place) {
    let Some(object) = state.get(place).cloned() else { return };
    if !object::is_deleting(&object.value) {
        return;
    }
    let uid = object::uid(&object.value).to_owned();
    if object::has_finalizer(&object.value, ORPHAN) {
        for dependent in state.dependents(&uid) {
            let Some(found) = state.get(&dependent).cloned() else { continue };
            let owners = object::owner_references(&found.value);
            let kept = owners.iter().filter(|owner| owner["uid"] != uid.as_str()).cloned().collect();
            set_owners(state, &dependent, kept);
        }
        release(state, place, ORPHAN);
        return;
    }
    if object::has_finalizer(&object.value, FOREGROUND) {
        let dependents = state.dependents(&uid);
        for dependent in &dependents {
            examine(state, world, dependent);
        }
        let is_blocking = |dependent: &Place| {
            state.get(dependent).is_some_and(|found| {
                let owners = object::owner_references(&found.value);
                owners.iter().any(|owner| owner["uid"] == uid.as_str() && owner["blockOwnerDeletion"] == true)
            })
        };
        if !dependents.iter().any(is_blocking) {
            release(state, place, FOREGROUND);
        }
    }
}

/// Takes the collector's finalizer off.
fn release(state: &mut State, place: &Place, finalizer: &str) {
    let Some(object) = state.get(place) else { return };
    let mut new = object.value.clone();
    let kept = object::finalizers(&new).filter(|one| *one != finalizer).map(Into::into).collect();
    set_finalizers(&mut new, kept);
    change::commit(state, place, new);
}

fn set_owners(state: &mut State, place: &Place, owners: Vec<Value>) {
    let Some(object) = state.get(place) else { return };
    let mut new = object.value.clone();
    if owners.is_empty() {
        object::metadata_mut(&mut new).remove("ownerReferences");
    } else {
        new["metadata"]["ownerReferences"] = owners.into();
    }
    change::commit(state, place, new);
}

fn delete(state: &mut State, world: &World<'_>, place: &Place, propagation: Option<Propagation>) {
    let Some(kind) = state.kinds.of_table(place.table).cloned() else { return };
    let Key { namespace, name } = place.key.clone();
    let target = Target { kind, namespace, name, part: Part::Whole };
    let options = DeleteOptions { propagation, ..DeleteOptions::default() };
    // It fails only where the object is gone already.
    let _ = delete::delete(state, world, &target, &options);
}

fn namespace_place(state: &State, name: &str) -> Place {
    let kind = state.kinds.find("", "v1", "namespaces").expect("namespaces are a built-in kind");
    Place { table: kind.table, key: Key::new("", name) }
}

fn is_namespace_ending(state: &State, name: &str) -> bool {
    !name.is_empty() && state.get(&namespace_place(state, name)).is_some_and(|found| object::is_deleting(&found.value))
}

/// Deletes what is in the namespace, and the namespace when nothing is left.
fn empty(state: &mut State, world: &World<'_>, name: &str) {
    let place = namespace_place(state, name);
    let Some(namespace) = state.get(&place).cloned().filter(|found| object::is_deleting(&found.value)) else {
        return;
    };
    let contents = |state: &State| -> Vec<Place> {
        (0..state.table_count())
            .flat_map(|table| {
                let keys = state.objects(table).range(Key::new(name, "")..).map(|(key, _)| key);
                keys.take_while(|key| key.namespace == name).map(move |key| Place { table, key: key.clone() })
            })
            .collect()
    };
    for content in contents(state) {
        let is_new = state.get(&content).is_some_and(|found| !object::is_deleting(&found.value));
        if is_new {
            delete(state, world, &content, None);
        }
    }
    let left = contents(state);
    let mut new = namespace.value.clone();
    if left.is_empty() {
        new["spec"]["finalizers"] = json!([]);
        change::commit(state, &place, new);
        return;
    }
    let conditions = conditions(state, &left, &object::seconds(world.now));
    let types = |value: &Value| {
        let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().map(|one| (one["type"].clone(), one["message"].clone())).collect::<Vec<_>>()
    };
    new["status"]["conditions"] = conditions;
    if types(&new) != types(&namespace.value) {
        state.put(&place, new);
    }
}

/// What keeps a namespace from going, as the namespace controller says it.
fn conditions(state: &State, left: &[Place], time: &str) -> Value {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut finalizers: Vec<(String, usize)> = Vec::new();
    let count = |list: &mut Vec<(String, usize)>, name: String| match list.iter_mut().find(|(one, _)| *one == name) {
        Some((_, count)) => *count += 1,
        None => list.push((name, 1)),
    };
    for place in left {
        let kind = state.kinds.of_table(place.table).map_or_else(String::new, |kind| kind.resource.clone());
        count(&mut counts, kind);
        for finalizer in state.get(place).iter().flat_map(|found| object::finalizers(&found.value)) {
            count(&mut finalizers, finalizer.into());
        }
    }
    let listed = |list: &[(String, usize)], what: &str| {
        list.iter()
            .map(|(name, count)| format!("{name} {what} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let condition = |kind: &str, reason: &str, message: String| json!({ "type": kind, "status": "True", "lastTransitionTime": time, "reason": reason, "message": message });
    let mut conditions = vec![condition(
        "NamespaceContentRemaining",
        "SomeResourcesRemain",
        format!("Some resources are remaining: {}", listed(&counts, "has")),
    )];
    if !finalizers.is_empty() {
        conditions.push(condition(
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", listed(&finalizers, "in")),
        ));
    }
    conditions.into()
}
