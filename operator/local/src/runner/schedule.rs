//! Whether a pod fits on the one node, in the scheduler's own words. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, NodeSelectorRequirement, NodeSelectorTerm, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::launch::is_own;
use super::quantity::thousandths;

/// Amounts of resources in thousandths, by name.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// What a user's container asks for that doesn't say: one core, so that N cores run N datums.
const ONE_CORE: u64 = 1000;

/// The node, as the scheduler sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) allocatable: Amounts,
    pub(crate) labels: BTreeMap<String, String>,
}

/// What a pod needs. Our own containers' processors are not counted: they mostly wait for the user's.
pub(crate) fn request(pod: &Pod) -> Amounts {
    let spec = pod.spec.iter();
    let mut sum = Amounts::from([("pods".to_owned(), 1000)]);
    for container in spec.clone().flat_map(|spec| &spec.containers) {
        add(&mut sum, &of_container(container));
    }
    for container in spec.flat_map(|spec| spec.init_containers.iter().flatten()) {
        for (name, amount) in of_container(container) {
            let most = sum.entry(name).or_default();
            *most = amount.max(*most);
        }
    }
    sum
}

fn of_container(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let amounts = |map: Option<&BTreeMap<String, Quantity>>| -> Amounts {
        map.into_iter().flatten().filter_map(|(name, amount)| Some((name.clone(), thousandths(&amount.0)?))).collect()
    };
    let mut asked = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    if is_own(container) {
        asked.remove("memory"); // ours is a limit for page cache, see the request
    }
    asked.extend(amounts(resources.and_then(|resources| resources.requests.as_ref())));
    if is_own(container) {
        asked.remove("cpu");
    } else {
        asked.entry("cpu".to_owned()).or_insert(ONE_CORE);
    }
    asked
}

/// Adds amounts to others.
pub(crate) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

/// Whether the pod fits beside what is used already; else the scheduler's message.
pub(crate) fn fit(node: &Facts, used: &Amounts, pod: &Pod) -> Result<(), String> {
    let nothing_fits = |why: &str| Err(format!("0/1 nodes are available: {why}."));
    let spec = pod.spec.iter();
    if spec
        .clone()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .any(|volume| volume.persistent_volume_claim.is_some())
    {
        return nothing_fits("pod has unbound immediate PersistentVolumeClaims");
    }
    if !spec.clone().all(|spec| is_wanted(node, spec.node_selector.as_ref())) || !is_affine(node, pod) {
        return nothing_fits("1 node(s) didn't match Pod's node affinity/selector");
    }
    let lacking = request(pod).into_iter().filter(|(name, amount)| {
        let has = node.allocatable.get(name).copied().unwrap_or(0);
        *amount > 0 && used.get(name).copied().unwrap_or(0).saturating_add(*amount) > has
    });
    let lacking: Vec<String> = lacking
        .map(|(name, _)| if name == "pods" { "1 Too many pods".to_owned() } else { format!("1 Insufficient {name}") })
        .collect();
    if lacking.is_empty() { Ok(()) } else { nothing_fits(&lacking.join(", ")) }
}

fn is_wanted(node: &Facts, selector: Option<&BTreeMap<String, String>>) -> bool {
    selector.into_iter().flatten().all(|(name, value)| node.labels.get(name) == Some(value))
}

fn is_affine(node: &Facts, pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| is_met(node, term)))
}

fn is_met(node: &Facts, term: &NodeSelectorTerm) -> bool {
    term.match_expressions.iter().flatten().all(|requirement| holds(node, requirement))
}

fn holds(node: &Facts, requirement: &NodeSelectorRequirement) -> bool {
    let value = node.labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let compared = || Some((number(value?)?, number(values.first()?)?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, than)| value > than),
        "Lt" => compared().is_some_and(|(value, than)| value < than),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node() -> Facts {
        let amounts = [("cpu", 2000), ("memory", 8 << 40), ("pods", 110_000)];
        Facts {
            allocatable: amounts.map(|(name, amount)| (name.to_owned(), amount)).into(),
            labels: [("kubernetes.io/arch".to_owned(), "amd64".to_owned())].into(),
        }
    }

    fn shard(user: &Value, more: &Value) -> Pod {
        let own = json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } });
        let mut spec = json!({ "containers": [
            { "name": "user", "command": ["/.varve/varve-shim"], "resources": user },
            { "name": "keeper", "command": ["/varve"], "resources": own },
        ] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()
    }

    #[test]
    fn as_many_pods_that_ask_for_nothing_run_as_there_are_cores() {
        let pod = shard(&json!({}), &json!({}));
        let mut used = Amounts::new();
        for _ in 0..2 {
            assert_eq!(fit(&node(), &used, &pod), Ok(()));
            add(&mut used, &request(&pod));
        }
        let said = fit(&node(), &used, &pod).unwrap_err();
        assert_eq!(said, "0/1 nodes are available: 1 Insufficient cpu.");
        let small = shard(&json!({ "requests": { "cpu": "10m" } }), &json!({}));
        assert!(fit(&node(), &used, &small).is_err());
        assert_eq!(fit(&node(), &Amounts::new(), &small), Ok(()));
    }

    #[test]
    fn all_that_is_lacking_is_named() {
        let pod = shard(&json!({ "limits": { "nvidia.com/gpu": "1", "cpu": "3", "memory": "1Gi" } }), &json!({}));
        let said = fit(&node(), &Amounts::new(), &pod).unwrap_err();
        assert_eq!(said, "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu.");
    }

    #[test]
    fn a_node_of_another_kind_is_not_taken() {
        let wrong = shard(&json!({}), &json!({ "nodeSelector": { "kubernetes.io/arch": "arm64" } }));
        let said = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
        assert_eq!(fit(&node(), &Amounts::new(), &wrong), Err(said.to_owned()));
        let affinity = |values: Value| {
            let expression = json!({ "key": "kubernetes.io/arch", "operator": "In", "values": values });
            let terms = json!({ "nodeSelectorTerms": [{ "matchExpressions": [expression] }] });
            json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } })
        };
        assert_eq!(fit(&node(), &Amounts::new(), &shard(&json!({}), &affinity(json!(["amd64"])))), Ok(()));
        let none = fit(&node(), &Amounts::new(), &shard(&json!({}), &affinity(json!(["arm64", "s390x"]))));
        assert_eq!(none, Err(said.to_owned()));
    }
}
