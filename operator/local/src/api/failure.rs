//! What goes wrong, as a client is told it: a `Status` with the API server's own words.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::kinds::Kind;
use crate::schema::Cause;

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
    /// Whether it goes out as its message alone, and not as a `Status`.
    is_text: bool,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, is_text: false }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "kind": kind.plural });
        if !name.is_empty() {
            self.details["name"] = name.into();
        }
        if !kind.group.is_empty() {
            self.details["group"] = kind.group.as_str().into();
        }
        self
    }

    /// 404 for an object.
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{} {name:?} not found", kind.resource)).about(kind, name)
    }

    /// 404 for anything else.
    pub(crate) fn no_such_path() -> Self {
        let mut failure =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        failure.details = json!({});
        failure
    }

    /// 404 where there is nothing at all, which a cluster says in plain text.
    pub(crate) fn no_page() -> Self {
        let mut failure = Self::new(StatusCode::NOT_FOUND, "", "404 page not found\n");
        failure.is_text = true;
        failure
    }

    /// 405 of a kind of a `CustomResourceDefinition`.
    pub(crate) fn not_supported(kind: &Kind, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", kind.resource);
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(kind, "")
    }

    /// 405.
    pub(crate) fn not_allowed() -> Self {
        let mut failure = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        failure.details = json!({});
        failure
    }

    /// 409, the name is taken.
    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.resource);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    /// 409, the name is taken by one that is on its way out.
    pub(crate) fn still_exists(kind: &Kind, name: &str) -> Self {
        let mut failure = Self::already_exists(kind, name);
        failure.message = format!("object is being deleted: {}", failure.message);
        failure
    }

    /// 409, somebody else was faster.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409.
    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource);
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    /// 409 of a deletion that was meant for another object or version.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let qualified = kind.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        let mut failure = Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name);
        failure.details["kind"] = kind.kind.as_str().into();
        failure
    }

    /// 409 of a server-side apply, with the fields in `details.causes`.
    pub(crate) fn apply_conflicts(message: String, causes: &[Value]) -> Self {
        let mut failure = Self::new(StatusCode::CONFLICT, "Conflict", message);
        failure.details = json!({ "causes": causes });
        failure
    }

    /// 403.
    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.resource);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 422: the object is not valid.
    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut said: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !said.contains(&text) {
                said.push(text);
            }
        }
        let said = match said.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {said}", kind.qualified_kind());
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        failure.details["kind"] = kind.kind.as_str().into();
        failure.details["causes"] = causes
            .iter()
            .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
            .collect();
        failure
    }

    /// 422: an update that does not name the version that it is made from.
    pub(crate) fn no_version(kind: &Kind, name: &str) -> Self {
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: "Invalid value: 0: must be specified for an update".into(),
            field: "metadata.resourceVersion".into(),
        };
        let mut failure = Self::invalid(kind, name, &[cause]).called(&kind.plural);
        failure.message = failure.message.replacen(&kind.qualified_kind(), &kind.resource, 1);
        failure
    }

    /// As an error that the API server has no reason for, without a prefix that it does not put there.
    pub(crate) fn unnamed(self, prefix: &str) -> Self {
        let message = self.message.strip_prefix(prefix).unwrap_or(&self.message).to_owned();
        Self::untyped(message)
    }

    /// With another message.
    pub(crate) fn reworded(mut self, reword: impl FnOnce(&str) -> String) -> Self {
        self.message = reword(&self.message);
        self
    }

    /// About an object that calls itself another kind.
    pub(crate) fn called(mut self, kind: &str) -> Self {
        let own = self.details["kind"].as_str().unwrap_or_default().to_owned();
        self.message = self.message.replacen(&own, kind, 1);
        self.details["kind"] = kind.into();
        self
    }

    /// 422: the patch does not fit the object.
    pub(crate) fn rejected_patch() -> Self {
        let mut failure = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            "the server rejected our request due to an error in our request",
        );
        failure.details = json!({});
        failure
    }

    /// 422: what a patch makes can't be read.
    pub(crate) fn invalid_patch(patched: &str, why: &str) -> Self {
        let said = format!("Invalid value: {}: {why}", Value::from(patched));
        let mut failure =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!(" \"\" is invalid: patch: {said}"));
        failure.details = json!({ "causes": [{ "reason": "FieldValueInvalid", "message": said, "field": "patch" }] });
        failure
    }

    /// 422: the options of a request are wrong.
    pub(crate) fn invalid_options(kind: &str, cause: &Cause) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        failure.details = json!({
            "group": "meta.k8s.io",
            "kind": kind,
            "causes": [{ "reason": cause.reason, "message": cause.message, "field": cause.field }],
        });
        failure
    }

    /// 410.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 406 for Kubernetes' own kinds.
    pub(crate) fn no_representation(types: &str) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {types}");
        let mut failure = Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message);
        failure.details = json!({});
        failure
    }

    /// 406.
    pub(crate) fn not_acceptable(types: &str) -> Self {
        let message = format!("only the following media types are accepted: {types}");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 415 of a patch for Kubernetes' own kinds.
    pub(crate) fn unsupported_patch() -> Self {
        let message = "415: Unsupported Media Type";
        let mut failure = Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message);
        failure.details = json!({});
        failure
    }

    /// 415.
    pub(crate) fn unsupported_media(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 500, as the API server answers when an applied object does not fit its schema.
    pub(crate) fn untyped(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// 504: a version that is not yet.
    pub(crate) fn too_new(asked: u64, current: u64) -> Self {
        let mut failure = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        );
        failure.details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        failure
    }

    /// 500.
    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        let mut failure =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {text}"));
        failure.details = json!({ "causes": [{ "message": text }] });
        failure
    }

    /// With one more cause.
    pub(crate) fn because(mut self, cause: &Value) -> Self {
        self.details["causes"] = json!([cause]);
        self
    }

    /// As a `Status`.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    /// As an answer.
    pub(crate) fn response(&self) -> Response<Body> {
        if self.is_text {
            let mut response = text_response(self.code, self.message.clone());
            response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
            return response;
        }
        let mut response = Response::new(Body::from(self.status().to_string()));
        *response.status_mut() = self.code;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.code == StatusCode::GATEWAY_TIMEOUT {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer in plain text.
pub(crate) fn text_response(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
