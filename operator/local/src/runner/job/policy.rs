//! What a Job's `podFailurePolicy` says of a failed pod: the first rule that fits decides. Pure.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// What a failed pod means for its Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It counts against the limits; also where no rule fits.
    Count,
    /// It counts as nobody's failure.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The Job has failed; the words that its condition gives.
    FailJob(String),
}

/// What the policy says of this pod, whose phase is `Failed`.
pub(crate) fn meaning(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Meaning {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    for (number, rule) in rules.iter().enumerate() {
        let Some(why) = fits(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Meaning::Ignore,
            "FailIndex" => Meaning::FailIndex,
            "FailJob" => Meaning::FailJob(format!("{why} matching FailJob rule at index {number}")),
            _ => Meaning::Count,
        };
    }
    Meaning::Count
}

/// Why the rule fits, in the Job controller's words.
fn fits(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default()
    );
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let init = status.init_container_statuses.iter().flatten();
        let mut containers = init.chain(status.container_statuses.iter().flatten());
        let (container, code) = containers.find_map(|container| exited(codes, container))?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let found = status.conditions.iter().flatten().find(|condition| {
        patterns.iter().any(|pattern| pattern.type_ == condition.type_ && pattern.status == condition.status)
    })?;
    Some(format!("Pod {name} has condition {}", found.type_))
}

/// The container and its code, if it failed with one that the rule is about.
fn exited<'a>(rule: &PodFailurePolicyOnExitCodesRequirement, container: &'a ContainerStatus) -> Option<(&'a str, i32)> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_named = rule.container_name.as_ref().is_none_or(|name| *name == container.name);
    let is_listed = rule.values.contains(&code);
    let fits = if rule.operator == "In" { is_listed } else { !is_listed };
    (code != 0 && is_named && fits).then_some((container.name.as_str(), code))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> PodFailurePolicy {
        serde_json::from_value(json!({ "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            { "action": "Ignore", "onExitCodes": { "containerName": "keeper", "operator": "In", "values": [75] } },
            { "action": "FailIndex", "onExitCodes": { "containerName": "keeper", "operator": "In", "values": [40] } },
            { "action": "FailJob", "onExitCodes": { "containerName": "keeper", "operator": "In", "values": [41] } },
        ] }))
        .unwrap()
    }

    fn failed(container: &str, code: i32, condition: &str) -> Meaning {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": "edges-0-abcde", "namespace": "lab" },
            "status": {
                "phase": "Failed",
                "conditions": [{ "type": condition, "status": "True" }],
                "containerStatuses": [{ "name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": { "exitCode": code } } }],
            },
        }))
        .unwrap();
        meaning(Some(&policy()), &pod)
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        assert_eq!(failed("keeper", 41, "DisruptionTarget"), Meaning::Ignore);
        assert_eq!(failed("keeper", 75, "Ready"), Meaning::Ignore);
        assert_eq!(failed("keeper", 40, "Ready"), Meaning::FailIndex);
        let words =
            "Container keeper for pod lab/edges-0-abcde failed with exit code 41 matching FailJob rule at index 3";
        assert_eq!(failed("keeper", 41, "Ready"), Meaning::FailJob(words.to_owned()));
    }

    #[test]
    fn a_pod_that_no_rule_is_about_counts() {
        assert_eq!(failed("user", 41, "Ready"), Meaning::Count);
        assert_eq!(failed("keeper", 44, "Ready"), Meaning::Count);
        let code_zero: Meaning = {
            let not_in: PodFailurePolicy = serde_json::from_value(json!({ "rules": [
                { "action": "FailJob", "onExitCodes": { "operator": "NotIn", "values": [7] } } ] }))
            .unwrap();
            let pod = serde_json::from_value(json!({ "metadata": {}, "status": { "containerStatuses": [
                { "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                  "state": { "terminated": { "exitCode": 0 } } }] } }))
            .unwrap();
            meaning(Some(&not_in), &pod)
        };
        assert_eq!(code_zero, Meaning::Count, "a container that succeeded fits no rule");
    }
}
