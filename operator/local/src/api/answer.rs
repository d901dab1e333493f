//! From a request to its answer: finds the kind and the verb, reads the options, and shows what came of it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::body;
use super::discover;
use super::failure::Failure;
use super::kinds::Kind;
use super::query::{Query, WriteOptions};
use super::route::Route;
use super::select::Selection;
use super::server::Server;
use super::show::accept;
use super::show::form::Form;
use super::show::table::Rows;
use super::verbs::create::{self, Creation};
use super::verbs::delete::{self, DeleteOptions};
use super::verbs::patch::{self, Format, Patch};
use super::verbs::watch::Watch;
use super::verbs::{Part, Target, Written, change, list, scale};
use super::{logs, reviews};

/// What a request asks, with what is read from it once.
struct Asked<'a> {
    server: &'a Server,
    kind: Arc<Kind>,
    namespace: &'a str,
    query: Query,
    form: Form,
    media_type: &'a str,
    user_agent: &'a str,
    body: &'a Bytes,
}

pub(crate) async fn answer(
    server: &Server,
    request: Request<Bytes>,
    stop: &CancellationToken,
) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let path = head.uri.path();
    let kinds = server.state().kinds.clone();
    if head.method == Method::GET
        && let Some(found) = discover::find(&kinds, path, header(header::ACCEPT))
    {
        return found;
    }
    let route = Route::parse(path).ok_or_else(Failure::no_page)?;
    if let Some(review) = reviews::answer(&route, &head.method, &body) {
        return review;
    }
    let kind = kinds.find(route.group, route.version, route.plural).cloned();
    let kind = kind.ok_or_else(|| nothing_at(kinds.has_builtin(route.group, route.version)))?;
    if !kind.is_namespaced && !route.namespace.is_empty() {
        return Err(nothing_at(!kind.is_custom));
    }
    let query = Query::parse(head.uri.query());
    let rows = match query.get("includeObject") {
        Some("None") => Rows::None,
        Some("Object") => Rows::Object,
        _ => Rows::Metadata,
    };
    // A log is text, whatever else the client would take.
    let is_log = route.subresource == Some("log");
    let shape = if is_log { accept::Shape::Whole } else { accept::shape(header(header::ACCEPT), &kind)? };
    let asked = Asked {
        server,
        form: Form { kind: kind.clone(), shape, rows },
        kind,
        namespace: route.namespace,
        query,
        media_type: header(header::CONTENT_TYPE).unwrap_or("application/json"),
        user_agent: header(header::USER_AGENT).unwrap_or_default(),
        body: &body,
    };
    match route.name {
        None => asked.collection(&head.method, stop).await,
        Some(name) => asked.object(&head.method, name, route.subresource, stop).await,
    }
}

impl Asked<'_> {
    async fn collection(&self, method: &Method, stop: &CancellationToken) -> Result<Response<Body>, Failure> {
        match *method {
            Method::GET if self.query.is_set("watch") => self.watch(stop),
            Method::GET => {
                let selection = Selection::of(&self.kind, self.namespace, &self.query)?;
                let page = list::list(&self.server.state(), &self.kind, &selection, &self.query)?;
                let now = (self.server.settings().clock)();
                Ok(json_response(StatusCode::OK, self.form.list(&page.objects, &page.meta, now)))
            }
            Method::POST => self.create().await,
            Method::DELETE if !self.kind.is("", "Namespace") => self.delete_collection().await,
            Method::PUT | Method::PATCH if self.kind.is_custom => Err(Failure::bad_request("name must be provided")),
            _ => Err(Failure::not_allowed()),
        }
    }

    async fn create(&self) -> Result<Response<Body>, Failure> {
        let target = self.target("", Part::Whole)?;
        if self.kind.is_namespaced && self.namespace.is_empty() {
            return Err(Failure::not_allowed());
        }
        let body = self.body()?;
        let options = WriteOptions::of(&self.query, self.user_agent, "CreateOptions")?;
        let creation = |sent| Creation {
            target: &target,
            sent,
            duplicates: &body.duplicates,
            options: &options,
            is_applied: false,
        };
        let sent = body.value.clone();
        let written = self.server.write(|state, world| create::create(state, world, creation(sent))).await?;
        Ok(self.written(&written))
    }

    async fn object(
        &self,
        method: &Method,
        name: &str,
        subresource: Option<&str>,
        stop: &CancellationToken,
    ) -> Result<Response<Body>, Failure> {
        let part = match subresource {
            None => Part::Whole,
            Some("status") if self.kind.has_status => Part::Status,
            Some("scale") if self.kind.scale.is_some() => Part::Scale,
            Some("log") if self.kind.is("", "Pod") && method == Method::GET => {
                let target = self.target(name, Part::Whole)?;
                return logs::answer(self.server, &target, &self.query, stop).await;
            }
            Some(_) if self.kind.is_custom => return Err(Failure::not_found(&self.kind, name)),
            Some(_) => return Err(Failure::no_such_path()),
        };
        let target = self.target(name, part)?;
        match *method {
            Method::GET if self.query.is_set("watch") && part == Part::Whole => self.watch_one(name, stop),
            Method::GET if part == Part::Scale => {
                let found = scale::get(&self.server.state(), &target)?;
                Ok(json_response(StatusCode::OK, found.to_string()))
            }
            Method::GET => {
                self.query.exact_version()?;
                let found = self.server.state().get(&target.place()).cloned();
                let found = found.ok_or_else(|| Failure::not_found(&self.kind, name))?;
                let now = (self.server.settings().clock)();
                Ok(json_response(StatusCode::OK, self.form.object(&found, now)))
            }
            Method::PUT => self.put(&target).await,
            Method::PATCH => self.patch(&target).await,
            Method::DELETE if part == Part::Whole => {
                let (options, warning) = self.delete_options()?;
                let deleted = self.server.write(|state, world| delete::delete(state, world, &target, &options)).await?;
                let mut response = self.deleted(&deleted);
                if let Some(warning) = warning {
                    warn(&mut response, warning);
                }
                Ok(response)
            }
            // A cluster looks at the body alone, whatever the path names.
            Method::POST if self.kind.is_custom && part == Part::Whole => self.create().await,
            Method::DELETE if self.kind.is_custom => Err(Failure::not_supported(&self.kind, "delete")),
            _ => Err(Failure::not_allowed()),
        }
    }

    async fn put(&self, target: &Target) -> Result<Response<Body>, Failure> {
        let body = self.body()?;
        let options = WriteOptions::of(&self.query, self.user_agent, "UpdateOptions")?;
        if target.part == Part::Scale {
            let scale =
                self.server.write(|state, world| scale::update(state, world, target, &body.value, &options)).await?;
            return Ok(json_response(StatusCode::OK, scale.to_string()));
        }
        let written = self
            .server
            .write(|state, world| change::update(state, world, target, body.value, &body.duplicates, &options))
            .await?;
        Ok(self.written(&written))
    }

    async fn patch(&self, target: &Target) -> Result<Response<Body>, Failure> {
        let format = Format::of(self.media_type, &self.kind)?;
        let options = WriteOptions::of(&self.query, self.user_agent, "PatchOptions")?;
        let body = patch::parse(self.body, format)?;
        let patch = Patch { format, body: body.value, duplicates: body.duplicates };
        if target.part == Part::Scale {
            let scale = self.server.write(|state, world| scale::patch(state, world, target, &patch, &options)).await?;
            return Ok(json_response(StatusCode::OK, scale.to_string()));
        }
        let written = self.server.write(|state, world| patch::patch(state, world, target, patch, &options)).await?;
        Ok(self.written(&written))
    }

    /// The options, and a warning where a default is not what everybody expects.
    fn delete_options(&self) -> Result<(DeleteOptions, Option<&'static str>), Failure> {
        let body = delete::parse(self.body, self.media_type)?;
        Ok(DeleteOptions::of(&self.query, &body)?.or_default(&self.kind))
    }

    async fn delete_collection(&self) -> Result<Response<Body>, Failure> {
        let selection = Selection::of(&self.kind, self.namespace, &self.query)?;
        let (options, _) = self.delete_options()?;
        let (page, version) = self
            .server
            .write(|state, world| {
                let found = list::all(state.objects(self.kind.table), &selection);
                for object in &found {
                    let (namespace, name) =
                        (super::object::text(&object.value, "namespace"), super::object::name(&object.value));
                    let target = Target {
                        kind: self.kind.clone(),
                        namespace: namespace.into(),
                        name: name.into(),
                        part: Part::Whole,
                    };
                    delete::delete(state, world, &target, &options)?;
                }
                Ok((found, state.version()))
            })
            .await?;
        let meta = super::show::form::ListMeta { version, next: None, remaining: None };
        let now = (self.server.settings().clock)();
        Ok(json_response(StatusCode::OK, self.form.list(&page, &meta, now)))
    }

    fn watch_one(&self, name: &str, stop: &CancellationToken) -> Result<Response<Body>, Failure> {
        let selection = Selection::of_one(&self.kind, self.namespace, name)?;
        self.stream(selection, stop)
    }

    fn watch(&self, stop: &CancellationToken) -> Result<Response<Body>, Failure> {
        let selection = Selection::of(&self.kind, self.namespace, &self.query)?;
        self.stream(selection, stop)
    }

    fn stream(&self, selection: Selection, stop: &CancellationToken) -> Result<Response<Body>, Failure> {
        let clock = self.server.settings().clock.clone();
        let watch = Watch::start(&self.server.state(), self.form.clone(), selection, &self.query, clock)?;
        let pieces = watch.stream(self.server.shared_state(), stop.clone());
        let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn target(&self, name: &str, part: Part) -> Result<Target, Failure> {
        if self.kind.is_namespaced == self.namespace.is_empty() && !(name.is_empty() && self.namespace.is_empty()) {
            return Err(nothing_at(!self.kind.is_custom));
        }
        Ok(Target { kind: self.kind.clone(), namespace: self.namespace.into(), name: name.into(), part })
    }

    fn body(&self) -> Result<body::Body, Failure> {
        let is_known = ["json", "yaml", "protobuf"].iter().any(|format| self.media_type.contains(format));
        if !is_known && !self.body.is_empty() {
            return Err(Failure::unsupported_media(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
        body::parse(self.body, self.media_type, &self.kind.kind)
    }

    fn written(&self, written: &Written) -> Response<Body> {
        let now = (self.server.settings().clock)();
        let status = if written.is_created { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = json_response(status, self.form.object(&written.object, now));
        for warning in &written.warnings {
            warn(&mut response, warning);
        }
        response
    }

    /// Pods and service accounts show how they went; others only that they did.
    fn deleted(&self, deleted: &delete::Deleted) -> Response<Body> {
        let shows_object = matches!(self.kind.kind.as_str(), "Pod" | "ServiceAccount") && !self.kind.is_custom;
        if !deleted.is_gone || shows_object {
            let now = (self.server.settings().clock)();
            return json_response(StatusCode::OK, self.form.object(&deleted.object, now));
        }
        let object = &deleted.object.value;
        let mut details = json!({
            "name": super::object::name(object),
            "kind": self.kind.plural,
            "uid": super::object::uid(object),
        });
        if !self.kind.group.is_empty() {
            details["group"] = self.kind.group.as_str().into();
        }
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        });
        json_response(StatusCode::OK, status.to_string())
    }
}

/// Adds a warning, which `kubectl` prints.
fn warn(response: &mut Response<Body>, warning: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", Value::from(warning))) {
        response.headers_mut().append(header::WARNING, value);
    }
}

/// 404: a cluster tells of its own paths in JSON, and of all others in plain text.
fn nothing_at(is_builtin: bool) -> Failure {
    if is_builtin { Failure::no_such_path() } else { Failure::no_page() }
}

/// An answer in JSON.
pub(crate) fn json_response(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
