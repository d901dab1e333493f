//! What there is to be asked for: groups, versions, kinds, schemas, and whether the server is well.

mod aggregated;
mod groups;
mod openapi;
mod resources;
mod swagger;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::json_response;
use super::failure::{Failure, text_response};
use super::kinds::Kinds;

/// The Kubernetes that this server answers as.
const VERSION: (&str, &str, &str) = ("1", "37", "v1.37.0+varve");

/// The answer, if the path is one of discovery.
pub(crate) fn find(kinds: &Kinds, path: &str, accept: Option<&str>) -> Option<Result<Response<Body>, Failure>> {
    let path = path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let found = match parts.as_slice() {
        [""] => json!({ "paths": paths(kinds) }),
        ["version"] => version(),
        ["healthz" | "livez" | "readyz", ..] => return Some(Ok(text_response(StatusCode::OK, "ok"))),
        ["api" | "apis"] => match aggregated::version(accept) {
            Some(version) => return Some(Ok(aggregated::answer(kinds, parts[0] == "api", version))),
            None if parts[0] == "api" => groups::core(),
            None => groups::list(kinds),
        },
        ["api", version] => resources::list(kinds, "", version)?,
        ["apis", group] => groups::one(kinds, group)?,
        ["apis", group, version] => resources::list(kinds, group, version)?,
        ["openapi", "v3"] => return Some(Ok(text_response(StatusCode::OK, openapi::index(kinds).to_string()))),
        ["openapi", "v3", "api", version] => return Some(Ok(openapi_response(kinds, "", version))),
        ["openapi", "v3", "apis", group, version] => return Some(Ok(openapi_response(kinds, group, version))),
        ["openapi", "v2"] => return Some(second_openapi(kinds, accept)),
        _ => return None,
    };
    Some(Ok(json_response(StatusCode::OK, found.to_string())))
}

fn version() -> Value {
    json!({
        "major": VERSION.0,
        "minor": VERSION.1,
        "gitVersion": VERSION.2,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn paths(kinds: &Kinds) -> Vec<String> {
    let groups = kinds.group_versions().into_iter().map(|(group, version)| match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    });
    let others = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    others.into_iter().map(Into::into).chain(groups).collect()
}

/// `OpenAPI` v2, in JSON or protobuf.
fn second_openapi(kinds: &Kinds, accept: Option<&str>) -> Result<Response<Body>, Failure> {
    let accept = accept.unwrap_or("*/*");
    let document = swagger::document(kinds, VERSION.2);
    if [swagger::PROTOBUF, swagger::ASKED_PROTOBUF].iter().any(|offered| accept.contains(offered)) {
        return Ok(typed_response(swagger::PROTOBUF, swagger::encoded(&document)));
    }
    if ["application/json", "*/*"].iter().any(|offered| accept.contains(offered)) {
        return Ok(json_response(StatusCode::OK, document.to_string()));
    }
    Err(Failure::not_acceptable(&format!("application/json, {}", swagger::PROTOBUF)))
}

/// A document of `OpenAPI`, or nothing at all.
fn openapi_response(kinds: &Kinds, group: &str, version: &str) -> Response<Body> {
    if let Some(document) = openapi::document(kinds, group, version) {
        return json_response(StatusCode::OK, document.to_string());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// An answer of a type of its own.
fn typed_response(media_type: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = json_response(StatusCode::OK, body);
    if let Ok(value) = HeaderValue::from_str(media_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}
