//! Fetching a URL: http and https only, five redirects at most, never a link-local address; see
//! [`varve_store::backend::guard`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{Client, StatusCode};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use url::Url;
use varve_store::backend::guard::{check, find_refusal, guarded};

use super::ImportError;

/// A connection that has not come about by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within an answer. There is no limit on the whole: files may be large.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The client that all URLs of an import go through. No proxy: it would resolve names unguarded.
pub(crate) fn client() -> Result<Client, ImportError> {
    let client = Client::builder()
        .user_agent(concat!("varve/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    guarded(client)
        .build()
        .map_err(|error| ImportError::retryable("HttpClient", format!("set up the HTTP client: {}", chain(&error))))
}

/// A stream of a URL's content, checked against the length that the server announced.
pub(crate) async fn open(client: &Client, text: &str) -> Result<impl AsyncRead + Send + Unpin + use<>, ImportError> {
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
    let announced = response.content_length();
    let body = response.bytes_stream().map_err(|error| io::Error::other(chain(&error)));
    Ok(StreamReader::new(Measured { body: Box::pin(body), announced, received: 0 }))
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

/// A body that must be as long as was announced: neither cut nor longer.
struct Measured {
    body: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    announced: Option<u64>,
    received: u64,
}

impl Stream for Measured {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.body.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &next {
            self.received += bytes.len() as u64;
        }
        let is_end = next.is_none();
        match self.announced {
            Some(announced) if self.received > announced || (is_end && self.received < announced) => {
                let message = format!("the server announced {announced} bytes and sent {}", self.received);
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, message))))
            }
            _ => Poll::Ready(next),
        }
    }
}
