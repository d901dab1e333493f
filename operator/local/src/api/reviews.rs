//! Who may do what: whoever has the token, everything. `kubectl auth` asks here.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::json_response;
use super::body;
use super::failure::Failure;
use super::route::Route;

/// The reviews that are answered: group, plural, kind.
pub(crate) const REVIEWS: [(&str, &str, &str); 3] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
];

/// The answer, if the path is that of a review.
pub(crate) fn answer(route: &Route<'_>, method: &Method, sent: &[u8]) -> Option<Result<Response<Body>, Failure>> {
    let known = |(group, plural, _): &&(&str, &str, &str)| route.group == *group && route.plural == *plural;
    let (_, _, kind) = REVIEWS.iter().find(known).filter(|_| route.version == "v1" && route.name.is_none())?;
    if *method != Method::POST {
        return Some(Err(Failure::not_allowed()));
    }
    // What is asked makes no difference, so a question that can't be read is answered as well.
    let sent = body::parse(sent, "application/json", kind).map_or(Value::Null, |sent| sent.value);
    Some(Ok(review(route.group, kind, sent)))
}

fn review(group: &str, kind: &str, sent: Value) -> Response<Body> {
    let mut review = if sent.is_object() { sent } else { json!({}) };
    review["apiVersion"] = format!("{group}/v1").into();
    review["kind"] = kind.into();
    review["status"] = match kind {
        "SelfSubjectAccessReview" => json!({ "allowed": true }),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
        _ => json!({ "userInfo": { "username": "varve", "groups": ["system:masters", "system:authenticated"] } }),
    };
    json_response(StatusCode::CREATED, review.to_string())
}
