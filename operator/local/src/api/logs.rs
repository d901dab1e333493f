//! `pods/log`: what containers print, from whoever runs them.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::object;
use super::query::Query;
use super::server::Server;
use super::verbs::Target;

/// Which container's log, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// The container's name: one of the pod's.
    pub container: String,
    /// Whether to go on until the container ends.
    pub is_following: bool,
    /// Whether the container's run before this one is meant.
    pub is_previous: bool,
    /// Only so many lines of the end.
    pub tail_lines: Option<u64>,
    /// Only what is newer than so many seconds.
    pub since_seconds: Option<u64>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Whether each line starts with its time.
    pub has_timestamps: bool,
}

/// Has the logs of containers.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// The log, in pieces; the error is what the client is told.
    async fn log(&self, request: LogRequest) -> Result<BoxStream<'static, std::io::Result<Bytes>>, String>;
}

/// GET of a pod's log.
pub(crate) async fn answer(
    server: &Server,
    target: &Target,
    query: &Query,
    stop: &CancellationToken,
) -> Result<Response<Body>, Failure> {
    let found = server.state().get(&target.place()).cloned();
    let pod = found.ok_or_else(|| Failure::not_found(&target.kind, &target.name))?;
    let request = LogRequest {
        namespace: target.namespace.clone(),
        pod: target.name.clone(),
        pod_uid: object::uid(&pod.value).into(),
        container: container(&pod.value, query.get("container"), &target.name)?,
        is_following: query.is_set("follow"),
        is_previous: query.is_set("previous"),
        tail_lines: query.number("tailLines")?,
        since_seconds: query.number("sinceSeconds")?,
        limit_bytes: query.number("limitBytes")?,
        has_timestamps: query.is_set("timestamps"),
    };
    let Some(source) = &server.settings().logs else {
        return Err(Failure::bad_request("this server runs no pods, so there are no logs"));
    };
    let log = source.log(request).await.map_err(Failure::bad_request)?;
    let stop = stop.clone();
    let log = log.take_until(async move { stop.cancelled().await });
    let mut response = Response::new(Body::from_stream(log));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// The container that is asked for: it may be left out where there is only one.
fn container(pod: &Value, asked: Option<&str>, name: &str) -> Result<String, Failure> {
    let list = |field: &str| -> Vec<&str> {
        pod["spec"][field].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
    };
    let (containers, init) = (list("containers"), list("initContainers"));
    match asked {
        Some(asked) if containers.contains(&asked) || init.contains(&asked) => Ok(asked.into()),
        Some(asked) => Err(Failure::bad_request(format!("container {asked} is not valid for pod {name}"))),
        None => match (containers.as_slice(), init.as_slice()) {
            ([one], []) => Ok((*one).into()),
            ([], _) => Err(Failure::bad_request(format!("pod {name} has no containers"))),
            (several, init) => {
                let mut message = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    several.join(" ")
                );
                if !init.is_empty() {
                    message = format!("{message} or one of the init containers: [{}]", init.join(" "));
                }
                Err(Failure::bad_request(message))
            }
        },
    }
}
