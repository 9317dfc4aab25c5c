//! Which hosts may be asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use depin_core::{Error, ErrorKind, Result};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// Where a fetcher may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To names with addresses on the public internet, by https.
    Public,
    /// There, and to `localhost` by http.
    Development,
    /// Wherever whoever runs this program says.
    Anywhere,
}

impl Reach {
    /// Refuses URLs that lead elsewhere by how they are written.
    pub(super) fn check(self, url: &Url) -> Result<()> {
        let rejected = |message| Err(Error::new(ErrorKind::Rejected, message).with("url", url));
        let host = url.host_str().unwrap_or_default();
        let local = self == Self::Development && host == "localhost";
        match (self, url.scheme()) {
            (Self::Anywhere, "http" | "https") => return Ok(()),
            (_, "https") => {}
            (_, "http") if local => {}
            _ => return rejected("only https is fetched"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return rejected("urls with a password are not fetched");
        }
        // Such a host is connected to without asking for its name.
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return rejected("addresses are not fetched from; name the host");
        }
        Ok(())
    }

    pub(super) const fn filter(self) -> Option<Filter> {
        match self {
            Self::Public => Some(Filter { localhost: false }),
            Self::Development => Some(Filter { localhost: true }),
            Self::Anywhere => None,
        }
    }
}

/// Looks names up and keeps the addresses that may be connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    localhost: bool,
}

impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let localhost = self.localhost && name.as_str() == "localhost";
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may = |address: &SocketAddr| match localhost {
                true => address.ip().is_loopback(),
                false => is_public(address.ip()),
            };
            let kept: Vec<_> = found.filter(may).collect();
            if kept.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// No address of the name may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
pub(super) struct NotPublic;

/// Whether an address is one that anybody on the internet can reach (IANA's special-purpose registries).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // "This network", private, loopback, multicast and what comes after it.
        (0 | 10 | 127 | 224.., _, _) => true,
        // Shared by carriers; link-local, where clouds keep their secrets; private.
        (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    if (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) {
        // NAT64: an IPv4 address for hosts that have none.
        let [[a, b], [c, d]] = [g.to_be_bytes(), h.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let special = match (a, b) {
        // Protocol assignments with Teredo, documentation, 6to4, documentation again.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => true,
        _ => false,
    };
    // Everything global is given out of 2000::/3; the rest is mapped, local, multicast or nobody's.
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let public = [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "64:ff9b::808:808",
        ];
        for text in public {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "5f00::1",
            "4000::1",
        ];
        for text in special {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn urls_that_lead_elsewhere_are_refused_as_written() {
        let check = |reach: Reach, url: &str| reach.check(&Url::parse(url).expect("a url")).is_ok();
        assert!(check(Reach::Public, "https://example.org/did.json"));
        assert!(check(Reach::Development, "http://localhost:80/did.json"));
        assert!(check(Reach::Anywhere, "http://10.0.0.1/"));
        for url in [
            "http://example.org/",
            "http://localhost/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://8.8.8.8/",
            "https://user@example.org/",
            "https://:p@example.org/",
        ] {
            assert!(!check(Reach::Public, url), "{url}");
        }
        for url in [
            "http://127.0.0.1/",
            "http://localhost.example.org/",
            "http://[::1]/",
            "ws://localhost/",
        ] {
            assert!(!check(Reach::Development, url), "{url}");
        }
        assert!(!check(Reach::Anywhere, "file:///etc/passwd"));
    }

    #[tokio::test]
    async fn the_names_of_this_machine_have_no_public_address() {
        let name = || "localhost".parse::<Name>().expect("a name");
        let public = Filter { localhost: false }.resolve(name()).await;
        assert!(public.is_err_and(|error| error.is::<NotPublic>()));
        let local = Filter { localhost: true }.resolve(name()).await.expect("this machine");
        assert!(local.into_iter().all(|address| address.ip().is_loopback()));
    }
}
