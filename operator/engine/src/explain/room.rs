//! How much room the nodes have: what each can give, less what its pods have asked for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use varve_api::show;

use super::pods::has_ended;

/// An amount of a resource, in thousandths.
type Thousandths = i128;

/// One node, as far as it matters for pods that look for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub node: String,
    /// What is left of each resource.
    left: BTreeMap<String, Thousandths>,
    /// Whether what its pods have asked for is taken off.
    is_net: bool,
    /// Its taints that keep pods away, as `key=value:effect`.
    pub taints: Vec<String>,
}

/// What these nodes have left; without knowing of their pods, what they can give.
pub fn rooms(nodes: &[Node], pods: Option<&[Pod]>) -> Vec<Room> {
    let room = |node: &Node| {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut left = BTreeMap::new();
        for (resource, amount) in node.status.iter().flat_map(|status| status.allocatable.iter().flatten()) {
            left.extend(parse(amount).map(|amount| (resource.clone(), amount)));
        }
        for pod in pods.into_iter().flatten().filter(|pod| !has_ended(pod)) {
            let is_here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
            for (resource, left) in left.iter_mut().filter(|_| is_here) {
                *left -= if resource == "pods" { 1000 } else { asked(pod, resource).unwrap_or(0) };
            }
        }
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let taints = taints.filter(|taint| taint.effect != "PreferNoSchedule").map(|taint| {
            let value = taint.value.as_deref().filter(|value| !value.is_empty());
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            format!("{}{value}:{}", taint.key, taint.effect)
        });
        Room { taints: taints.collect(), node: name, left, is_net: pods.is_some() }
    };
    nodes.iter().map(room).collect()
}

/// How much a pod asks for, and how much the emptiest node has, in words; nothing where the pod does not say.
pub(super) fn compared(pod: &Pod, resource: &str, rooms: &[Room]) -> Option<String> {
    let asked = shown(resource, asked(pod, resource)?);
    let emptiest = rooms.iter().filter_map(|room| Some((room.left.get(resource)?, room))).max_by_key(|(left, room)| {
        (**left, std::cmp::Reverse(&room.node)) // of equals the first by name, so that the words stay the same
    });
    Some(match emptiest {
        Some((left, room)) if room.is_net => {
            format!(
                "it asks for {asked} of {resource}, and {}, the emptiest node, has {} left",
                room.node,
                shown(resource, (*left).max(0))
            )
        }
        Some((all, room)) => {
            format!(
                "it asks for {asked} of {resource}, and {}, the largest node, has {} in all",
                room.node,
                shown(resource, *all)
            )
        }
        None if rooms.is_empty() => format!("it asks for {asked} of {resource}"),
        None => format!("it asks for {asked} of {resource}, and no node has any"),
    })
}

/// What a pod asks for of a resource, all its containers together, ours included; an init container counts where it asks
/// for more than those that run after it.
fn asked(pod: &Pod, resource: &str) -> Option<Thousandths> {
    let of = |resources: &Option<ResourceRequirements>| {
        let resources = resources.as_ref()?;
        let stated = |map: &Option<BTreeMap<String, Quantity>>| map.as_ref()?.get(resource).and_then(parse);
        stated(&resources.requests).or_else(|| stated(&resources.limits))
    };
    let spec = pod.spec.as_ref()?;
    let at_work = spec.containers.iter().filter_map(|container| of(&container.resources)).reduce(|sum, one| sum + one);
    let first = spec.init_containers.iter().flatten().filter_map(|container| of(&container.resources)).max();
    at_work.max(first)
}

/// Kubernetes' notation for amounts: `1500m`, `2Gi`, `1e3`.
fn parse(quantity: &Quantity) -> Option<Thousandths> {
    const UNITS: [(&str, u32, u32); 12] = [
        // suffix, base, power
        ("Ki", 1024, 1),
        ("Mi", 1024, 2),
        ("Gi", 1024, 3),
        ("Ti", 1024, 4),
        ("Pi", 1024, 5),
        ("Ei", 1024, 6),
        ("k", 1000, 1),
        ("M", 1000, 2),
        ("G", 1000, 3),
        ("T", 1000, 4),
        ("P", 1000, 5),
        ("E", 1000, 6),
    ];
    let text = quantity.0.trim();
    if let Some(number) = text.strip_suffix('m') {
        return decimal(number, 1);
    }
    if let Some(number) = text.strip_suffix('u') {
        return Some(decimal(number, 1)? / 1000);
    }
    if let Some(number) = text.strip_suffix('n') {
        return Some(decimal(number, 1)? / 1_000_000);
    }
    for (suffix, base, power) in UNITS {
        if let Some(number) = text.strip_suffix(suffix) {
            return decimal(number, 1000 * i128::from(base).pow(power));
        }
    }
    if let Some((number, exponent)) = text.split_once(['e', 'E']) {
        return decimal(number, 1000 * 10_i128.checked_pow(exponent.parse().ok()?)?);
    }
    decimal(text, 1000)
}

/// A decimal number times a factor.
fn decimal(text: &str, factor: i128) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = u32::try_from(part.len()).ok()?;
    let all: i128 = format!("{whole}{part}").parse().ok()?;
    Some(all.checked_mul(factor)? / 10_i128.checked_pow(digits)?)
}

fn shown(resource: &str, amount: Thousandths) -> String {
    if resource == "memory" || resource.ends_with("storage") || resource.starts_with("hugepages") {
        return show::size(u64::try_from(amount / 1000).unwrap_or(u64::MAX));
    }
    let (whole, part) = (amount / 1000, amount % 1000);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:03}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn amount(text: &str) -> Option<Thousandths> {
        parse(&Quantity(text.into()))
    }

    fn pod(node: &str, cpu: &str, phase: &str) -> Pod {
        let containers = json!([{"name": "user", "resources": {"requests": {"cpu": cpu}}},
            {"name": "keeper", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]);
        let first = json!([{"name": "install", "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}}}]);
        let spec = json!({"nodeName": node, "containers": containers, "initContainers": first});
        serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": {"phase": phase}})).expect("a pod")
    }

    fn node(name: &str, cpu: &str) -> Node {
        let status = json!({"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}});
        let taints = json!([{"key": "gpu", "value": "only", "effect": "NoSchedule"},
            {"key": "old", "effect": "PreferNoSchedule"}, {"key": "slow", "effect": "NoExecute"}]);
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": taints}, "status": status}))
            .expect("a node")
    }

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        let all = ["2", "1500m", "0.5", "1.5Gi", "1k", "1e3", "12E", "250u", "9n"].map(amount);
        let gib = 1_610_612_736_000;
        let expected = [2000, 1500, 500, gib, 1_000_000, 1_000_000, 12_000_000_000_000_000_000_000, 0, 0];
        assert_eq!(all, expected.map(Some));
        assert_eq!(["", "much", "1.x"].map(amount), [None; 3]);
    }

    #[test]
    fn a_pod_asks_for_what_all_its_containers_ask_for_or_the_one_before_them() {
        let pod = pod("", "2", "Pending");
        assert_eq!(asked(&pod, "cpu"), Some(2100));
        assert_eq!(asked(&pod, "memory"), amount("96Mi"), "what lays out the folders asks for more");
        assert_eq!(asked(&pod, "nvidia.com/gpu"), None);
    }

    #[test]
    fn the_emptiest_node_is_the_one_with_the_most_left_after_what_its_pods_ask_for() {
        let nodes = [node("a", "4"), node("b", "3500m")];
        let pods = [pod("a", "1", "Running"), pod("a", "1", "Succeeded"), pod("b", "250m", "Running")];
        let wish = pod("", "5", "Pending");
        assert_eq!(
            compared(&wish, "cpu", &rooms(&nodes, Some(&pods))).as_deref(),
            Some("it asks for 5.1 of cpu, and b, the emptiest node, has 3.15 left")
        );
        assert_eq!(
            compared(&wish, "cpu", &rooms(&nodes, None)).as_deref(),
            Some("it asks for 5.1 of cpu, and a, the largest node, has 4 in all")
        );
        assert_eq!(compared(&wish, "cpu", &[]).as_deref(), Some("it asks for 5.1 of cpu"));
        assert_eq!(
            compared(&wish, "memory", &rooms(&nodes, Some(&pods))).as_deref(),
            Some("it asks for 96 MiB of memory, and a, the emptiest node, has 7.9 GiB left")
        );
    }

    #[test]
    fn taints_that_only_advise_keep_nobody_away() {
        assert_eq!(rooms(&[node("a", "1")], None)[0].taints, ["gpu=only:NoSchedule", "slow:NoExecute"]);
    }
}
