//! Fetching a URL: http and https only, five redirects at most, never a link-local address.
//!
//! Link-local is where clouds serve machine credentials, so it is refused in all three places
//! where an address can come in: the URL as written, each redirect, and each answer of the name
//! service (the client connects to exactly the addresses that were checked).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use url::{Host, Url};

use super::ImportError;

/// Redirects followed before a URL is given up.
const MAX_REDIRECTS: usize = 5;
/// A connection that has not come about by then will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within an answer. There is no limit on the whole: files may be large.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Why this address may not be asked, if it may not.
fn refusal(address: IpAddr) -> Option<&'static str> {
    let v4 = match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => embedded_v4(v6),
    };
    let is_link_local = match (v4, address) {
        (Some(v4), _) => v4.is_link_local() || v4 == ALIBABA_METADATA,
        (None, IpAddr::V6(v6)) => v6.is_unicast_link_local() || v6 == AWS_METADATA_V6,
        (None, IpAddr::V4(_)) => false,
    };
    let is_nowhere = address.is_unspecified() || address.is_multicast();
    if is_link_local {
        Some("link-local and metadata addresses may not be fetched from")
    } else if is_nowhere {
        Some("this is no address of a host")
    } else {
        None
    }
}

/// Checks the parts of a URL that are decided before any name is resolved.
pub(crate) fn check(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the URL must begin with http:// or https://, not {}://", url.scheme()));
    }
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err("the URL must name a host".into()),
    };
    refusal(address).map_or(Ok(()), |why| Err(format!("{address}: {why}")))
}

/// Where EC2 serves metadata over IPv6; a unique-local address, so no range covers it.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
/// Where Alibaba Cloud serves metadata; from the shared range, so no link-local rule covers it.
const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, or through NAT64.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let groups = v6.segments();
    let is_nat64 = groups[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let is_compatible = groups[..6] == [0; 6] && groups[6] != 0;
    v6.to_ipv4_mapped().or_else(|| {
        let last = (u32::from(groups[6]) << 16) | u32::from(groups[7]);
        (is_nat64 || is_compatible).then(|| Ipv4Addr::from_bits(last))
    })
}

/// Resolves names by the system, and hands on only addresses that may be asked.
#[derive(Debug)]
struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(why) = found.iter().find_map(|address| refusal(address.ip())) {
                return Err(Refused(format!("{} resolves to {}: {why}", name.as_str(), found[0].ip())).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A refusal of ours inside the client's error, told apart from a failing network by its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(Refused(format!("more than {MAX_REDIRECTS} redirects")));
    }
    match check(attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(why) => {
            let to = attempt.url().clone();
            attempt.error(Refused(format!("redirected to {to}: {why}")))
        }
    }
}

/// The client that all URLs of an import go through. No proxy: it would resolve names unguarded.
pub(crate) fn client() -> Result<Client, ImportError> {
    Client::builder()
        .user_agent(concat!("varve/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow))
        .dns_resolver(Arc::new(GuardedResolver))
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
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
    if is_refusal(error) {
        ImportError::never("UrlRefused", message)
    } else {
        ImportError::retryable("UrlUnreachable", message)
    }
}

fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<Refused>() {
            return true;
        }
        next = error.source();
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> bool {
        refusal(address.parse().unwrap()).is_some()
    }

    #[test]
    fn link_local_addresses_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(refused(address), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.7", "93.184.216.34", "2606:2800:220:1::1", "::1"] {
            assert!(!refused(address), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_refused_address_is_not_connected_to() {
        let resolve = |name: &str| GuardedResolver.resolve(name.parse().unwrap());
        let refusal = resolve("169.254.169.254").await.err().map(|error| error.to_string());
        assert!(refusal.is_some_and(|why| why.contains("resolves to") && why.contains("link-local")));
        assert!(resolve("localhost").await.is_ok());
    }

    #[test]
    fn only_http_urls_with_a_host_pass() {
        let check = |url: &str| check(&Url::parse(url).unwrap());
        assert!(check("https://example.org/a.png").is_ok());
        assert!(check("file:///etc/passwd").unwrap_err().contains("must begin with http://"));
        assert!(check("http://169.254.169.254/latest/meta-data").unwrap_err().contains("link-local"));
        assert!(check("http://0xa9fea9fe/").unwrap_err().contains("link-local")); // the same address in hexadecimal
    }
}
