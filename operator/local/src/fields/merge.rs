//! An object with another merged into it: what the other has wins, the rest stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::element::Element;
use super::typed::{Shape, Typed, fields, items};

/// `base` with `over` merged into it.
pub(super) fn merged(typed: Typed, base: &Value, over: &Value) -> Value {
    merge(typed, Some(base), Some(over)).unwrap_or(Value::Null)
}

fn merge(typed: Typed, base: Option<&Value>, over: Option<&Value>) -> Option<Value> {
    let leaf = || over.or(base).cloned();
    match typed.shape(over.or(base)) {
        Shape::Scalar => leaf(),
        Shape::Map => {
            let (old, new) = (fields(base), fields(over));
            let is_empty = |fields: Option<&Map<String, Value>>| fields.is_none_or(Map::is_empty);
            if typed.is_atomic_map() || (is_empty(old) && is_empty(new)) { leaf() } else { merge_maps(typed, old, new) }
        }
        Shape::List => {
            let (old, new) = (items(base), items(over));
            if typed.is_atomic_list() || (old.is_empty() && new.is_empty()) {
                leaf()
            } else {
                let list = Lists::of(typed, old, new).merge();
                (!list.is_empty()).then_some(Value::Array(list))
            }
        }
    }
}

fn merge_maps(typed: Typed, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Option<Value> {
    let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
    let mut merged = Map::new();
    for name in names {
        let (old, new) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
        if let Some(value) = merge(typed.live_field(name), old, new) {
            merged.insert(name.clone(), value);
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Two lists whose items are known by element; of items that are there twice none is merged with.
struct Lists<'a> {
    typed: Typed<'a>,
    old: Vec<(Element, &'a Value)>,
    new: Vec<(Element, &'a Value)>,
    old_items: BTreeMap<Element, Option<&'a Value>>,
    new_items: BTreeMap<Element, &'a Value>,
}

impl<'a> Lists<'a> {
    fn of(typed: Typed<'a>, old: &'a [Value], new: &'a [Value]) -> Self {
        let known = |items: &'a [Value]| -> Vec<(Element, &'a Value)> {
            items.iter().filter_map(|item| Some((typed.element_of(item).ok()?, item))).collect()
        };
        let (old, mut new) = (known(old), known(new));
        let mut old_items = BTreeMap::new();
        for (element, item) in &old {
            old_items.entry(element.clone()).and_modify(|item| *item = None).or_insert(Some(*item));
        }
        let mut new_items = BTreeMap::new();
        new.retain(|(element, item)| {
            let is_first = !new_items.contains_key(element);
            new_items.entry(element.clone()).or_insert(*item);
            is_first
        });
        Self { typed, old, new, old_items, new_items }
    }

    /// The items of both: those of the new list in its order, and between them those of the old list alone, each
    /// before the shared item that it stood before.
    fn merge(&self) -> Vec<Value> {
        let shared = self.new.iter().map(|(element, _)| element).filter(|e| self.old_items.contains_key(*e));
        let mut shared: VecDeque<&Element> = shared.collect();
        let mut next_shared = shared.pop_front();
        let mut out = Vec::with_capacity(self.old.len().max(self.new.len()));
        let mut taken: BTreeSet<&Element> = BTreeSet::new();
        let (mut l, mut r) = (0, 0);
        while l < self.old.len() || r < self.new.len() {
            if let (Some((old, _)), Some((new, _))) = (self.old.get(l), self.new.get(r)) {
                if old == new {
                    taken.insert(new);
                    out.extend(self.both(new));
                    (l, r) = (l + 1, r + 1);
                    next_shared = shared.pop_front();
                    continue;
                }
                if self.new_items.contains_key(old) && next_shared.is_some_and(|next| next != old) {
                    l += 1; // it comes later, where the new list has it
                    continue;
                }
            }
            if let Some((old, item)) = self.old.get(l) {
                if !self.new_items.contains_key(old) {
                    out.extend(merge(self.typed.item(), Some(item), None));
                    l += 1;
                    continue;
                }
                if taken.contains(old) {
                    l += 1;
                }
            }
            if let Some((new, _)) = self.new.get(r) {
                taken.insert(new);
                out.extend(self.both(new));
                r += 1;
                if next_shared == Some(new) {
                    next_shared = shared.pop_front();
                }
            }
        }
        out
    }

    fn both(&self, element: &Element) -> Option<Value> {
        let old = self.old_items.get(element).copied().flatten();
        merge(self.typed.item(), old, self.new_items.get(element).copied())
    }
}
