//! A set of fields, as a tree: what a manager owns, what changed.

use std::collections::{BTreeMap, BTreeSet};

use super::element::Element;
use super::typed::Typed;

/// Fields; a field below another does not make the other one a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) members: BTreeSet<Element>,
    /// Never holds an empty set.
    pub(super) children: BTreeMap<Element, Set>,
}

impl Set {
    pub(super) fn of<const N: usize>(paths: [&[&str]; N]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path.iter().map(|name| Element::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// The whole object, as the empty path, is never a member.
    pub(super) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => drop(self.members.insert(last.clone())),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn union(mut self, other: &Self) -> Self {
        self.members.extend(other.members.iter().cloned());
        for (element, below) in &other.children {
            let mine = self.children.remove(element).unwrap_or_default();
            self.children.insert(element.clone(), mine.union(below));
        }
        self
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, below)| {
            let both = below.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self { members: &self.members & &other.members, children: children.collect() }
    }

    /// What is not in `other`; a field stays though a field above it or below it is in `other`.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, below)| {
            let rest = other.children.get(element).map_or_else(|| below.clone(), |other| below.difference(other));
            (!rest.is_empty()).then(|| (element.clone(), rest))
        });
        Self { members: &self.members - &other.members, children: children.collect() }
    }

    /// What is neither in `other` nor below a field of it.
    pub(super) fn recursive_difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter(|(element, _)| !other.members.contains(element));
        let children = children.filter_map(|(element, below)| {
            let rest =
                other.children.get(element).map_or_else(|| below.clone(), |other| below.recursive_difference(other));
            (!rest.is_empty()).then(|| (element.clone(), rest))
        });
        Self { members: &self.members - &other.members, children: children.collect() }
    }

    /// With the named fields that have members below them as members themselves.
    pub(super) fn with_named_fields(&self, typed: Option<Typed>) -> Self {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (element, below) in &self.children {
            let next = match (element, typed) {
                (Element::Field(name), Some(typed)) => {
                    if typed.names(name) {
                        members.insert(element.clone());
                    }
                    typed.field(name)
                }
                (Element::Key(_), Some(typed)) => Some(typed.item()),
                _ => None,
            };
            children.insert(element.clone(), below.with_named_fields(next));
        }
        Self { members, children }
    }

    /// The paths of all members, those above first.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        let own = self.members.iter().map(|element| vec![element.clone()]);
        let below = self
            .children
            .iter()
            .flat_map(|(element, below)| below.paths().into_iter().map(|path| [vec![element.clone()], path].concat()));
        own.chain(below).collect()
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}
