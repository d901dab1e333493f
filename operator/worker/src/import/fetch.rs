//! Fetching a URL: http and https only, five redirects at most, never a link-local address; see
//! [`varve_store::backend::guard`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{env, io};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{Client, Response, StatusCode};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use url::Url;
use varve_store::backend::guard::{check, find_refusal, guarded};

use super::ImportError;
use crate::pod::ENV_IMPORT_MAX_UNANNOUNCED_BYTES;

/// A connection that has not come about by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within an answer. There is no limit on the whole: files may be large.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Most bytes of a URL whose server says how many there are: what a file of a repo may have, about.
const MAX_BYTES: u64 = 390 << 30;
/// Most bytes of a URL whose server does not say: it may never end, and fill the store with what nobody will read.
const MAX_UNANNOUNCED_BYTES: u64 = 64 << 30;

/// The client that all URLs of an import go through.
pub(crate) struct Fetcher {
    client: Client,
    max_unannounced_bytes: u64,
}

impl Fetcher {
    pub(crate) fn new() -> Result<Self, ImportError> {
        let max_unannounced_bytes = env::var(ENV_IMPORT_MAX_UNANNOUNCED_BYTES).ok().and_then(|text| text.parse().ok());
        Ok(Self { client: client()?, max_unannounced_bytes: max_unannounced_bytes.unwrap_or(MAX_UNANNOUNCED_BYTES) })
    }

    /// A stream of a URL's content, held to the length that the server announced, or to a limit where it did not.
    pub(crate) async fn open(&self, url: &str) -> Result<impl AsyncRead + Send + Unpin + use<>, ImportError> {
        let response = get(&self.client, url).await?;
        let announced = response.content_length();
        if let Some(announced) = announced.filter(|announced| *announced > MAX_BYTES) {
            let message = format!(
                "fetch {url}: the server announced {announced} bytes, and a file may have at most {MAX_BYTES}: split it"
            );
            return Err(ImportError::never("TooLarge", message));
        }
        let broken = url.to_owned();
        let body = response.bytes_stream().map_err(move |error| {
            let message = format!("fetch {broken}: the answer broke off: {}", chain(&error));
            io::Error::other(ImportError::retryable("UrlUnreachable", message))
        });
        let limit = self.max_unannounced_bytes;
        Ok(StreamReader::new(Measured { body: Box::pin(body), url: url.to_owned(), announced, limit, received: 0 }))
    }
}

/// No proxy: it would resolve names unguarded.
fn client() -> Result<Client, ImportError> {
    let client = Client::builder()
        .user_agent(concat!("varve/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    guarded(client)
        .build()
        .map_err(|error| ImportError::retryable("HttpClient", format!("set up the HTTP client: {}", chain(&error))))
}

/// The beginning of an answer that promises the content.
async fn get(client: &Client, text: &str) -> Result<Response, ImportError> {
    let url = Url::parse(text).map_err(|error| ImportError::never("UrlInvalid", format!("fetch {text}: {error}")))?;
    check(&url).map_err(|why| ImportError::never("UrlRefused", format!("fetch {text}: {why}")))?;
    let response = client.get(url).send().await.map_err(|error| failure(text, &error))?;
    let status = response.status();
    if status.is_redirection() {
        // The client follows http and https alone, and hands on whatever else it meets.
        let to =
            response.headers().get("location").map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
        let message = format!("fetch {text}: redirected to {to}: the URL must begin with http:// or https://");
        return Err(ImportError::never("UrlRefused", message));
    }
    if !status.is_success() {
        return Err(refused_by_server(text, status));
    }
    Ok(response)
}

/// What an answer other than success means for a second try.
fn refused_by_server(url: &str, status: StatusCode) -> ImportError {
    let message = format!("fetch {url}: the server answered {status}");
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            ImportError::retryable("UrlUnavailable", message)
        }
        status if status.is_server_error() => ImportError::retryable("UrlUnavailable", message),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            ImportError::never("UrlNotFound", format!("{message}: nothing is there; correct the URL in a new Commit"))
        }
        _ => ImportError::never("UrlRefused", message),
    }
}

fn failure(url: &str, error: &reqwest::Error) -> ImportError {
    let message = format!("fetch {url}: {}", chain(error));
    if find_refusal(error).is_some() {
        ImportError::never("UrlRefused", message)
    } else {
        ImportError::retryable("UrlUnreachable", message)
    }
}

/// An error with all its causes that say something new, and without the URL, which stands before.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

/// A body that must be as long as was announced, neither cut nor longer, or that may not go on for ever.
struct Measured {
    body: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    url: String,
    announced: Option<u64>,
    /// Most bytes where none were announced.
    limit: u64,
    received: u64,
}

impl Measured {
    /// Why what has come is not what may come.
    fn fault(&self, is_end: bool) -> Option<ImportError> {
        let Self { url, announced, limit, received, .. } = self;
        match announced {
            Some(announced) if received > announced || (is_end && received < announced) => {
                let message = format!("fetch {url}: the server announced {announced} bytes and sent {received}");
                Some(ImportError::retryable("UrlUnreachable", message))
            }
            None if received > limit => {
                let message = format!(
                    "fetch {url}: the server does not say how long it is, and went on after {limit} bytes: serve it \
                     with a Content-Length, or put it in a bucket and use objectStore"
                );
                Some(ImportError::never("TooLarge", message))
            }
            _ => None,
        }
    }
}

impl Stream for Measured {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.body.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &next {
            self.received += bytes.len() as u64;
        }
        match self.fault(next.is_none()) {
            Some(fault) if !matches!(next, Some(Err(_))) => Poll::Ready(Some(Err(io::Error::other(fault)))),
            _ => Poll::Ready(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(announced: Option<u64>, received: u64, is_end: bool) -> Option<&'static str> {
        let body = Box::pin(futures::stream::empty());
        let body = Measured { body, url: "http://field/a".to_owned(), announced, limit: 10, received };
        body.fault(is_end).map(|fault| fault.reason)
    }

    #[test]
    fn a_body_is_as_long_as_announced_or_within_the_limit() {
        assert_eq!(fault(Some(20), 20, true), None);
        assert_eq!(fault(Some(20), 15, false), None);
        assert_eq!(fault(Some(20), 15, true), Some("UrlUnreachable"));
        assert_eq!(fault(Some(20), 21, false), Some("UrlUnreachable"));
        assert_eq!(fault(None, 10, true), None);
        assert_eq!(fault(None, 11, false), Some("TooLarge"));
    }
}
