//! Where a request to an address that a user named may go: by http and https alone, never to link-local addresses.
//!
//! Link-local is where clouds serve the machine's own credentials, so it is refused in all three places where an
//! address can come in: the address as written, each redirect, and each answer of the name service (the client
//! connects to exactly the addresses that were checked).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use url::{Host, Url};

/// Redirects followed before an address is given up.
const MAX_REDIRECTS: usize = 5;
/// Where EC2 serves metadata over IPv6; a unique-local address, so no range covers it.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
/// Where EKS serves credentials to pods over IPv6; unique-local, too.
const EKS_CREDENTIALS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023);
/// Where Alibaba Cloud serves metadata; from the shared range, so no link-local rule covers it.
const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
/// Azure's platform endpoint, which serves goal states and extensions' settings; a public address by its range.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// A refusal of ours inside a client's error, told apart from a failing network by its type.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// A client that asks only what may be asked, redirects and resolved names included; an address that is written as
/// numbers is for [`check`].
pub fn guarded(client: ClientBuilder) -> ClientBuilder {
    // No referer: a pre-signed URL is a secret, and no business of the next server.
    client.redirect(Policy::custom(follow)).referer(false).dns_resolver(Arc::new(GuardedResolver))
}

/// Checks the parts of a URL that are decided before any name is resolved.
pub fn check(url: &Url) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused(format!("the URL must begin with http:// or https://, not {}://", url.scheme())));
    }
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(Refused("the URL must name a host".into())),
    };
    refusal(address).map_or(Ok(()), |why| Err(Refused(format!("{address}: {why}"))))
}

/// The refusal of ours that lies in this error, if one does.
pub fn find_refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

/// Why this address may not be asked, if it may not.
fn refusal(address: IpAddr) -> Option<&'static str> {
    let v4 = match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => embedded_v4(v6),
    };
    let is_link_local = match (v4, address) {
        (Some(v4), _) => v4.is_link_local() || v4 == ALIBABA_METADATA || v4 == AZURE_PLATFORM,
        (None, IpAddr::V6(v6)) => v6.is_unicast_link_local() || [AWS_METADATA_V6, EKS_CREDENTIALS_V6].contains(&v6),
        (None, IpAddr::V4(_)) => false,
    };
    let is_nowhere = address.is_unspecified() || address.is_multicast() || v4.is_some_and(|v4| v4.is_unspecified());
    if is_link_local {
        Some("link-local and metadata addresses may not be fetched from")
    } else if is_nowhere {
        Some("this is no address of a host")
    } else {
        None
    }
}

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
            let refused = found.iter().find_map(|found| Some((found.ip(), refusal(found.ip())?)));
            if let Some((address, why)) = refused {
                return Err(Refused(format!("{} resolves to {address}: {why}", name.as_str())).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

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
            "fd00:ec2::23",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::ffff:0.0.0.0",
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
        let check = |url: &str| check(&Url::parse(url).unwrap()).map_err(|why| why.to_string());
        assert!(check("https://example.org/a.png").is_ok());
        assert!(check("file:///etc/passwd").unwrap_err().contains("must begin with http://"));
        assert!(check("http://169.254.169.254/latest/meta-data").unwrap_err().contains("link-local"));
        assert!(check("http://0xa9fea9fe/").unwrap_err().contains("link-local")); // the same address in hexadecimal
    }
}
