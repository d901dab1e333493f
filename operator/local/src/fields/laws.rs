//! Laws of ownership, for any objects and any managers.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::collect::fields_of;
use super::compare::Comparison;
use super::encoding;
use super::managers::Managers;
use super::set::Set;
use super::typed::Typed;
use super::{Writer, apply, update};
use crate::schema::Schema;

fn schema() -> Schema {
    let leaf = json!({ "type": "integer" });
    let item = json!({ "type": "object", "properties": { "k": { "type": "string" }, "v": leaf } });
    Schema::of_crd(&json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "a": leaf, "b": leaf,
        "keyed": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item },
        "set": { "type": "array", "x-kubernetes-list-type": "set", "items": leaf },
        "list": { "type": "array", "items": leaf },
        "map": { "type": "object", "additionalProperties": leaf },
        "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    } } } }))
    .expect("a schema")
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, subresource: None, api_version: "v1", now: Timestamp::UNIX_EPOCH }
}

/// A spec with some of its fields, none of them empty.
///
/// An empty set, keyed list or map has no fields to manage: as on a real API server (1.37), the first apply that empties
/// one lets it go altogether, and the next puts an empty one there.
fn spec() -> impl Strategy<Value = Value> {
    let small = || 0..3_i64;
    let keyed = prop::collection::btree_map("[abc]", prop::option::of(small()), 1..4).prop_shuffle_items();
    let set = prop::sample::subsequence(vec![1, 2, 3], 1..3).prop_shuffle();
    let map = prop::collection::btree_map("[xyz]", small(), 1..3);
    (
        (small(), prop::option::of(small())),
        prop::option::of(keyed),
        prop::option::of(set),
        prop::option::of(prop::collection::vec(small(), 0..3)),
        prop::option::of(map.clone()),
        prop::option::of(map),
    )
        .prop_map(|((a, b), keyed, set, list, map, open)| {
            let all = json!({ "a": a, "b": b, "keyed": keyed, "set": set, "list": list, "map": map, "open": open });
            let Value::Object(all) = all else { unreachable!("an object") };
            Value::Object(all.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
        })
}

trait ShuffledItems {
    fn prop_shuffle_items(self) -> BoxedStrategy<Vec<Value>>;
}

impl<S> ShuffledItems for S
where
    S: Strategy<Value = std::collections::BTreeMap<String, Option<i64>>> + 'static,
{
    fn prop_shuffle_items(self) -> BoxedStrategy<Vec<Value>> {
        let item = |(k, v): (String, Option<i64>)| v.map_or_else(|| json!({ "k": k }), |v| json!({ "k": k, "v": v }));
        self.prop_map(move |items| items.into_iter().map(item).collect::<Vec<_>>()).prop_shuffle().boxed()
    }
}

#[derive(Debug, Clone)]
enum Write {
    Apply(&'static str, Value),
    Update(&'static str, Value),
}

fn write() -> impl Strategy<Value = Write> {
    let manager = || prop::sample::select(vec!["ann", "bob", "cid"]);
    prop_oneof![
        2 => (manager(), spec()).prop_map(|(manager, spec)| Write::Apply(manager, spec)),
        1 => (manager(), spec()).prop_map(|(manager, spec)| Write::Update(manager, spec)),
    ]
}

fn object(spec: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "t" }, "spec": spec })
}

fn written(schema: &Schema, live: Option<&Value>, write: &Write) -> Value {
    match write {
        Write::Apply(manager, spec) => apply(schema, live, &object(spec), writer(manager), true).expect("forced"),
        Write::Update(manager, spec) => update(schema, live, object(spec), writer(manager)),
    }
}

fn after(schema: &Schema, writes: &[Write]) -> Option<Value> {
    writes.iter().fold(None, |live, write| Some(written(schema, live.as_ref(), write)))
}

fn managers(object: &Value) -> Managers {
    Managers::decode(object["metadata"].get("managedFields")).expect("managed fields that can be read")
}

proptest! {
    #[test]
    fn applied_twice_is_applied_once(writes in prop::collection::vec(write(), 0..5), spec in spec()) {
        let schema = schema();
        let last = Write::Apply("ann", spec);
        let once = written(&schema, after(&schema, &writes).as_ref(), &last);
        prop_assert_eq!(&written(&schema, Some(&once), &last), &once);
    }

    #[test]
    fn nobody_manages_what_is_not_there(writes in prop::collection::vec(write(), 1..7)) {
        let schema = schema();
        let typed = Typed::of(schema.root());
        let live = after(&schema, &writes).expect("an object");
        let there = fields_of(typed, &live).with_named_fields(Some(typed));
        for (manager, entry) in managers(&live).0 {
            let gone: Set = entry.set.difference(&there);
            // An empty list or map that is given up may stay managed, as in the original.
            let gone: Vec<_> = gone.paths().into_iter().filter(|path| path.len() > 2).collect();
            prop_assert!(gone.is_empty(), "{manager:?}: {gone:?} of {live}");
        }
    }

    #[test]
    fn an_apply_makes_what_it_applies_so(writes in prop::collection::vec(write(), 0..5), spec in spec()) {
        let schema = schema();
        let live = written(&schema, after(&schema, &writes).as_ref(), &Write::Apply("ann", spec.clone()));
        let typed = Typed::of(schema.root());
        let changes = Comparison::between(typed, &object(&spec), &live);
        prop_assert!(changes.modified.is_empty(), "{:?}", changes.modified.paths());
    }

    #[test]
    fn an_update_stands_as_it_was_sent(writes in prop::collection::vec(write(), 0..5), spec in spec()) {
        let schema = schema();
        let mut live = written(&schema, after(&schema, &writes).as_ref(), &Write::Update("ann", spec.clone()));
        super::take_managed_fields(&mut live);
        prop_assert_eq!(live, object(&spec));
    }

    #[test]
    fn managed_fields_are_read_as_they_were_written(writes in prop::collection::vec(write(), 1..7)) {
        let schema = schema();
        let live = after(&schema, &writes).expect("an object");
        let read = managers(&live);
        let mut again = live.clone();
        super::take_managed_fields(&mut again);
        read.write_to(&mut again);
        prop_assert_eq!(again, live);
    }

    #[test]
    fn a_set_is_read_as_it_was_written(spec in spec()) {
        let schema = schema();
        let set = fields_of(Typed::of(schema.root()), &object(&spec));
        prop_assert_eq!(encoding::decode(&encoding::encode(&set)), Some(set));
    }

    #[test]
    fn sets_are_sets(one in spec(), another in spec()) {
        let schema = schema();
        let fields = |spec| fields_of(Typed::of(schema.root()), &object(spec));
        let (one, another) = (fields(&one), fields(&another));
        prop_assert_eq!(one.difference(&another).union(&one.intersection(&another)), one.clone());
        prop_assert!(one.difference(&another).intersection(&another).is_empty());
        prop_assert_eq!(one.clone().union(&another), another.clone().union(&one));
        prop_assert!(one.recursive_difference(&one).is_empty());
    }
}
