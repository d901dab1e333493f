//! Whether the API server has the rules by which a killed container starts again in its pod, asked once at start.
//!
//! A dry run tells what no version number does: servers before 1.34 refuse a container's own policy, and one whose gate
//! `ContainerRestartRules` is off drops it. Whoever does not answer has none: then all is as without them.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use kube::core::Request;
use kube::{Client, Resource, api::PostParams};
use serde_json::Value;
use varve_engine::pod::{self, Surroundings};

use crate::act::MANAGER;
use crate::error::{Error, Result};

const ASKING: &str = "try a batch Job with container restart rules";

/// Questions, 1 s · 2ⁿ apart, to an API server that gives no answer: a quarter of a minute.
const TRIES: u32 = 5;

/// Whether batch Jobs that are made in `namespace` keep such rules; `image` is our own.
pub(crate) async fn are_kept(client: &Client, namespace: &str, image: &str) -> bool {
    let mut tries = 1;
    loop {
        let error = match try_out(client, namespace, image).await {
            Ok(answer) => {
                let are_kept = pod::keeps_rules(&answer);
                tracing::info!(namespace, are_kept, "asked for container restart rules");
                return are_kept;
            }
            Err(error) => error,
        };
        match error.api_code() {
            Some(422) => {
                tracing::info!(namespace, %error, "the API server has no container restart rules");
                return false;
            }
            code if tries == TRIES || code.is_some_and(|code| (400..500).contains(&code) && code != 429) => {
                tracing::warn!(namespace, %error, "nobody tells of container restart rules: killed containers cost their pods");
                return false;
            }
            _ => tokio::time::sleep(Duration::from_secs(1 << (tries - 1))).await,
        }
        tries += 1;
    }
}

/// Not by `act`, since it writes nothing and is asked before anybody leads.
async fn try_out(client: &Client, namespace: &str, image: &str) -> Result<Value> {
    let around = Surroundings {
        namespace: namespace.to_owned(),
        own_image: image.to_owned(),
        store_secret: String::new(),
        run_as: None,
        allows_local_stores: false,
        allows_machine_credentials: false,
        restarts_in_place: true,
    };
    let params = PostParams { dry_run: true, field_manager: Some(MANAGER.into()) };
    let body = pod::trial(&around).to_string().into_bytes();
    let request = Request::new(BatchJob::url_path(&(), Some(namespace))).create(&params, body);
    let request = request.map_err(kube::Error::BuildRequest).map_err(Error::api(ASKING))?;
    client.request(request).await.map_err(Error::api(ASKING))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::{Value, json};

    use super::are_kept;

    /// Whether they are kept by an API server that answers a new object with what `answer` makes of it.
    async fn are_kept_by(answer: impl Fn(Value) -> (u16, Value) + Clone + Send + 'static) -> bool {
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = answer.clone();
            async move {
                assert_eq!(request.uri().path(), "/apis/batch/v1/namespaces/varve-system/jobs");
                assert!(request.uri().query().is_some_and(|query| query.contains("dryRun=All")), "it is only a trial");
                let body = request.into_body().collect_bytes().await.expect("the body is in memory");
                let (code, answer) = answer(serde_json::from_slice(&body).expect("JSON"));
                let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, std::convert::Infallible>(response.expect("a response"))
            }
        });
        are_kept(&Client::new(service, "varve-system"), "varve-system", "varve:1").await
    }

    fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
        (code, json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": message}))
    }

    #[tokio::test]
    async fn only_a_server_that_keeps_the_rules_has_them() {
        assert!(are_kept_by(|job| (201, job)).await);
        let drops = |mut job: Value| {
            job["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("restartPolicyRules");
            (201, job)
        };
        assert!(!are_kept_by(drops).await, "its gate is off");
        let refuses = |_| {
            let field = "spec.template.spec.containers[0].restartPolicy";
            status(422, "Invalid", &format!("{field}: Forbidden: may not be set for non-init containers"))
        };
        assert!(!are_kept_by(refuses).await, "it is older than 1.34");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_asked_again_and_who_forbids_it_is_not() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = asked.clone();
        let busy_twice = move |job| match counts.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => status(503, "ServiceUnavailable", "not now"),
            _ => (201, job),
        };
        assert!(are_kept_by(busy_twice).await);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!(!are_kept_by(|_| status(403, "Forbidden", "a policy")).await);
    }
}
