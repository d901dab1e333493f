//! What there is to be asked for: groups, versions, kinds, schemas, and whether the server is well.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::answer::json_response;
use super::failure::Failure;
use super::kinds::Kinds;

/// The Kubernetes that this server answers as.
const VERSION: (&str, &str, &str) = ("1", "37", "v1.37.0+varve");

/// The answer, if the path is one of discovery.
pub(crate) fn find(_kinds: &Kinds, path: &str, _accept: Option<&str>) -> Option<Result<Response<Body>, Failure>> {
    let path = path.trim_end_matches('/');
    let text = match path {
        "/version" => json!({
            "major": VERSION.0,
            "minor": VERSION.1,
            "gitVersion": VERSION.2,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": "linux/amd64",
        }),
        "/healthz" | "/livez" | "/readyz" => return Some(Ok(Response::new(Body::from("ok")))),
        _ => return None,
    };
    Some(Ok(json_response(StatusCode::OK, text.to_string())))
}
