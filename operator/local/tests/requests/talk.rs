//! Puts a scenario's requests to a server, a real one or the one in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Request, Response, header};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::parts;
use super::plain::Plain;
use super::recording::Answer;
use super::table::{Asked, Scenario};

/// Who asks: without a manager in the query, its first word is one.
const USER_AGENT: &str = "table/1.0";
/// How often a request with `until` is asked again, and how long between.
const TRIES: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than any watch in the table.
const LIMIT: Duration = Duration::from_secs(30);

/// The server's answers to a scenario, in a namespace of this name that is made for it and deleted after it.
pub(crate) async fn answers(client: &Client, scenario: &Scenario, namespace: &str) -> Result<Vec<Answer>> {
    let mut talk = Talk {
        client: client.clone(),
        kept: BTreeMap::from([("ns".into(), namespace.into())]),
        plain: Plain::of(namespace),
    };
    let made = json!({ "metadata": { "name": namespace } });
    let answer = talk.send("POST /api/v1/namespaces", &[], made.to_string()).await?;
    if answer.status() != 201 {
        bail!("make namespace {namespace}: status {}", answer.status());
    }
    let mut answers = Vec::with_capacity(scenario.requests.len());
    for asked in &scenario.requests {
        let answer = tokio::time::timeout(LIMIT, talk.ask(asked)).await;
        let answer = answer.map_err(anyhow::Error::from).flatten();
        answers.push(answer.with_context(|| format!("{}: {}", scenario.name, asked.name))?);
    }
    talk.send(&format!("DELETE /api/v1/namespaces/{namespace}"), &[], String::new()).await?;
    Ok(answers)
}

struct Talk {
    client: Client,
    /// What stands for names in braces.
    kept: BTreeMap<String, String>,
    plain: Plain,
}

/// An answer as it came.
struct Raw {
    status: u16,
    media_type: String,
    warnings: Vec<String>,
    text: String,
}

impl Talk {
    async fn ask(&mut self, asked: &Asked) -> Result<Answer> {
        let mut tries = 0;
        let raw = loop {
            let raw = self.once(asked).await?;
            tries += 1;
            match asked.until {
                Some(status) if raw.status != status && tries < TRIES => tokio::time::sleep(PAUSE).await,
                _ => break raw,
            }
        };
        let body = body(asked, &raw.text);
        for (name, pointer) in &asked.keep {
            // Where it isn't there, this answer differs already.
            if let Some(found) = body.pointer(pointer) {
                self.kept.insert(name.clone(), found.as_str().map_or_else(|| found.to_string(), Into::into));
            }
        }
        let body = match &asked.only {
            Some(rule) => parts::only(&body, &rule.parts),
            None => body,
        };
        let body = match &asked.except {
            Some(rule) => parts::without(body, &rule.parts),
            None => body,
        };
        Ok(Answer {
            to: asked.name.clone(),
            status: raw.status,
            media_type: raw.media_type,
            warnings: raw.warnings.iter().map(|warning| self.plain.text(warning)).collect(),
            body: self.plain.value(body),
        })
    }

    async fn once(&self, asked: &Asked) -> Result<Raw> {
        let json = || asked.body.as_ref().map(Value::to_string);
        let text = asked.text.clone().or_else(json).unwrap_or_default();
        let default = (!text.is_empty()).then_some("application/json");
        let mut headers = Vec::new();
        headers.extend(asked.media_type.as_deref().or(default).map(|value| (header::CONTENT_TYPE, value)));
        headers.extend(asked.accept.as_deref().map(|value| (header::ACCEPT, value)));
        let response = self.send(&self.filled(&asked.request), &headers, self.filled(&text)).await?;
        let all = |name| response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        Ok(Raw {
            status: response.status().as_u16(),
            media_type: all(header::CONTENT_TYPE).next().unwrap_or_default().into(),
            warnings: all(header::WARNING).map(Into::into).collect(),
            text: String::from_utf8(response.into_body().collect_bytes().await?.into())?,
        })
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    async fn send(
        &self,
        request: &str,
        headers: &[(header::HeaderName, &str)],
        body: String,
    ) -> Result<Response<Body>> {
        let (method, path) = request.split_once(' ').context("a request is a method and a path")?;
        let mut request = Request::builder().method(method).uri(path).header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        Ok(self.client.send(request.body(Body::from(body.into_bytes()))?).await?)
    }
}

/// What an answer says: JSON, the events of a watch, or text.
fn body(asked: &Asked, text: &str) -> Value {
    let is_watch = asked.request.contains("watch=");
    let events = || {
        let events: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        events.ok().filter(|events| events.iter().all(|event| event["type"].is_string()))
    };
    match is_watch.then(events).flatten() {
        // Bookmarks that only tell the time of day come when a server sees fit.
        Some(events) => events.into_iter().filter(|event| !is_idle(event)).collect(),
        None => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

fn is_idle(event: &Value) -> bool {
    event["type"] == "BOOKMARK" && !event.to_string().contains("k8s.io/initial-events-end")
}
