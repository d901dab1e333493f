//! The nodes that a Pipeline's image can run on.
//!
//! An image is looked up for one platform and pinned to that platform's manifest, so in a cluster of several its pods
//! must be kept from the others. What the user says of platforms, by selector or affinity, stands as it is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use varve_api::pipeline::{Pod, ResolvedImage};

/// Kubernetes' label for a node's architecture.
const ARCHITECTURE: &str = "kubernetes.io/arch";
/// Kubernetes' label for a node's operating system.
const SYSTEM: &str = "kubernetes.io/os";

/// The labels that a node must have: those the user asks for, and those of the platform of `image`.
pub(super) fn node_selector(settings: &Pod, image: &ResolvedImage) -> BTreeMap<String, String> {
    let mut labels = settings.node_selector.clone();
    let mut add = |label: &str, value: &str| {
        let is_said = required(settings).flat_map(expressions).any(|said| said.key == label);
        if !is_said {
            labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
        }
    };
    add(SYSTEM, "linux");
    if let Some(architecture) = &image.architecture {
        add(ARCHITECTURE, architecture);
    }
    labels
}

/// The architecture that the user asks for, by selector or by an affinity that leaves no other.
pub fn architecture(settings: &Pod) -> Option<&str> {
    if let Some(selected) = settings.node_selector.get(ARCHITECTURE) {
        return Some(selected);
    }
    let mut terms = required(settings).map(only_architecture);
    let first = terms.next()??;
    terms.all(|other| other == Some(first)).then_some(first)
}

/// The one architecture that fits the term.
fn only_architecture(term: &NodeSelectorTerm) -> Option<&str> {
    let said = expressions(term).find(|said| said.key == ARCHITECTURE && said.operator == "In")?;
    if let Some([value]) = said.values.as_deref() { Some(value) } else { None }
}

/// The terms of the required node affinity, one of which a node must fit.
fn required(settings: &Pod) -> impl Iterator<Item = &NodeSelectorTerm> {
    let affinity = settings.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.into_iter().flat_map(|required| &required.node_selector_terms)
}

fn expressions(term: &NodeSelectorTerm) -> impl Iterator<Item = &NodeSelectorRequirement> {
    term.match_expressions.iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).expect("a part of a pod")
    }

    fn affinity(terms: &[&[&str]]) -> Pod {
        let term =
            |values: &&[&str]| json!({"matchExpressions": [{"key": ARCHITECTURE, "operator": "In", "values": values}]});
        let terms: Vec<_> = terms.iter().map(term).collect();
        settings(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
    }

    fn selected(settings: &Pod, architecture: Option<&str>) -> Vec<(String, String)> {
        let image = ResolvedImage { architecture: architecture.map(str::to_owned), ..ResolvedImage::default() };
        node_selector(settings, &image).into_iter().collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn pods_are_kept_to_the_platform_that_their_image_was_looked_up_for() {
        let expected = labels(&[("gpu", "yes"), (ARCHITECTURE, "arm64"), (SYSTEM, "linux")]);
        assert_eq!(selected(&settings(json!({"nodeSelector": {"gpu": "yes"}})), Some("arm64")), expected);
        assert_eq!(selected(&Pod::default(), None), labels(&[(SYSTEM, "linux")]), "nothing is known of the image");
    }

    #[test]
    fn what_the_user_says_of_platforms_stands() {
        let chosen = settings(json!({"nodeSelector": {(ARCHITECTURE): "amd64"}}));
        assert_eq!(selected(&chosen, Some("arm64")), labels(&[(ARCHITECTURE, "amd64"), (SYSTEM, "linux")]));
        assert_eq!(selected(&affinity(&[&["amd64", "arm64"]]), Some("arm64")), labels(&[(SYSTEM, "linux")]));
    }

    #[test]
    fn an_architecture_is_asked_for_by_a_selector_or_an_affinity_that_leaves_no_other() {
        assert_eq!(architecture(&settings(json!({"nodeSelector": {(ARCHITECTURE): "arm64"}}))), Some("arm64"));
        assert_eq!(architecture(&affinity(&[&["arm64"], &["arm64"]])), Some("arm64"));
        assert_eq!(architecture(&affinity(&[&["arm64"], &["amd64"]])), None);
        assert_eq!(architecture(&affinity(&[&["arm64", "amd64"]])), None);
        assert_eq!(architecture(&Pod::default()), None);
    }
}
