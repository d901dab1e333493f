//! What changed between two objects, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::element::Element;
use super::set::Set;
use super::typed::{Shape, Typed, fields, items};

/// The fields that changed; no field is in two of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: Set,
    pub(super) modified: Set,
    pub(super) added: Set,
}

impl Comparison {
    pub(super) fn between(typed: Typed, old: &Value, new: &Value) -> Self {
        let mut walk = Walk { path: Vec::new(), found: Self::default() };
        walk.compare(typed, Some(old), Some(new));
        walk.found
    }

    /// Without some fields and all below them.
    pub(super) fn without(&self, fields: &Set) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

struct Walk {
    path: Vec<Element>,
    found: Comparison,
}

type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

impl Walk {
    fn compare(&mut self, typed: Typed, old: Option<&Value>, new: Option<&Value>) {
        let (old_shape, new_shape) = (typed.shape(old), typed.shape(new));
        let is_leaf = match (old, new) {
            (_, None) => self.shaped(old_shape, typed, (old, new)),
            (None, _) => self.shaped(new_shape, typed, (old, new)),
            _ if old_shape == new_shape => self.shaped(new_shape, typed, (old, new)),
            _ => {
                self.shaped(old_shape, typed, (old, new));
                self.shaped(new_shape, typed, (old, new))
            }
        };
        if !is_leaf {
            self.came_or_went((old, new));
        }
    }

    /// Compares as a map, list or scalar; says whether it was compared as a whole.
    fn shaped(&mut self, shape: Shape, typed: Typed, (old, new): Pair) -> bool {
        let is_leaf = match shape {
            Shape::Scalar => true,
            Shape::List => typed.is_atomic_list() || (items(old).is_empty() && items(new).is_empty()),
            Shape::Map => {
                let is_empty = |value| fields(value).is_none_or(serde_json::Map::is_empty);
                typed.is_atomic_map() || (is_empty(old) && is_empty(new))
            }
        };
        match shape {
            _ if is_leaf => self.leaf((old, new)),
            Shape::List => self.list(typed, items(old), items(new)),
            _ => self.map(typed, (old, new)),
        }
        is_leaf
    }

    fn leaf(&mut self, (old, new): Pair) {
        if old.is_some() && new.is_some() {
            if old != new {
                self.found.modified.insert(&self.path);
            }
        } else {
            self.came_or_went((old, new));
        }
    }

    fn came_or_went(&mut self, (old, new): Pair) {
        if old.is_none() {
            self.found.added.insert(&self.path);
        } else if new.is_none() {
            self.found.removed.insert(&self.path);
        }
    }

    fn map(&mut self, typed: Typed, (old, new): Pair) {
        let (old, new) = (fields(old), fields(new));
        let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(serde_json::Map::keys).collect();
        for name in names {
            let (old, new) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
            self.path.push(Element::field(name));
            self.compare(typed.live_field(name), old, new);
            self.path.pop();
        }
    }

    fn list(&mut self, typed: Typed, old: &[Value], new: &[Value]) {
        let mut both: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old {
            if let Ok(element) = typed.element_of(item) {
                both.entry(element).or_default().0.push(item);
            }
        }
        for item in new {
            if let Ok(element) = typed.element_of(item) {
                both.entry(element).or_default().1.push(item);
            }
        }
        for (element, (old, new)) in both {
            self.path.push(element);
            self.items_of_one_key(typed.item(), &old, &new);
            self.path.pop();
        }
    }

    /// Items with one key, of which there should be one; several are compared as a whole.
    fn items_of_one_key(&mut self, typed: Typed, old: &[&Value], new: &[&Value]) {
        match (old, new) {
            ([] | [_], [] | [_]) => self.compare(typed, old.first().copied(), new.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                if old != new {
                    self.found.modified.insert(&self.path);
                }
            }
            ([_, _, ..], _) => {
                if let Some(new) = new.first() {
                    self.compare(typed, None, Some(new));
                }
                self.found.removed.insert(&self.path);
            }
            (_, [_, _, ..]) => {
                if let Some(old) = old.first() {
                    self.compare(typed, Some(old), None);
                }
                self.found.added.insert(&self.path);
            }
        }
    }
}
