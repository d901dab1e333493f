//! Restart in place: a user's container that was killed with its memory starts again in its pod and keeps its devices.
//!
//! The rules for it are newer than our types of Kubernetes' objects, and an API server that has none refuses a policy of
//! a container's own. So they go into the JSON that is sent, and only where the API server was asked for them before.

use k8s_openapi::api::batch::v1::{Job as BatchJob, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use varve_api::{exit_codes, pod};

use super::containers::own;
use super::{Surroundings, managed, pod_basics, pod_security};

/// The batch Job as it is sent: where the keeper waits for a killed container, with the rules by which it comes back.
pub fn as_sent(job: &BatchJob) -> Value {
    let mut sent = serde_json::to_value(job).expect("a batch Job is JSON");
    if is_told_of_restarts(job)
        && let Some(containers) = sent["spec"]["template"]["spec"]["containers"].as_array_mut()
    {
        for container in containers.iter_mut().filter(|container| container["name"] == pod::USER) {
            add_rules(container);
        }
    }
    sent
}

fn is_told_of_restarts(job: &BatchJob) -> bool {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let keepers =
        template.into_iter().flat_map(|pod| &pod.containers).filter(|container| container.name == pod::KEEPER);
    keepers.flat_map(|keeper| keeper.env.iter().flatten()).any(|variable| variable.name == pod::ENV_RESTARTS_IN_PLACE)
}

/// A kill alone: any other end of the shim is its own word, and one that lost its keeper would come back for ever.
fn add_rules(container: &mut Value) {
    container["restartPolicy"] = json!("Never");
    container["restartPolicyRules"] =
        json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [exit_codes::KILLED] } }]);
}

/// The smallest batch Job with such rules, to be sent as a dry run: of our own image, and as restricted as all of ours, so
/// that no policy of the cluster's has a word against it.
pub fn trial(around: &Surroundings) -> Value {
    let pod = PodSpec {
        containers: vec![own(pod::USER, around)],
        security_context: Some(pod_security(around)),
        ..pod_basics()
    };
    let job = BatchJob {
        metadata: ObjectMeta {
            name: Some("varve-restart-rules".to_owned()),
            namespace: Some(around.namespace.clone()),
            labels: Some(managed([])),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec { template: PodTemplateSpec { metadata: None, spec: Some(pod) }, ..JobSpec::default() }),
        status: None,
    };
    let mut sent = serde_json::to_value(job).expect("a batch Job is JSON");
    add_rules(&mut sent["spec"]["template"]["spec"]["containers"][0]);
    sent
}

/// Whether the API server's answer to [`trial`] still has the rules: one that is told not to use them drops them.
pub fn keeps_rules(answer: &Value) -> bool {
    let containers = answer["spec"]["template"]["spec"]["containers"].as_array();
    containers
        .into_iter()
        .flatten()
        .any(|container| container["restartPolicyRules"].as_array().is_some_and(|rules| !rules.is_empty()))
}
