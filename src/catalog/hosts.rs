//! Where a channel may be: hosts that are public, and those that lead to private ones by convention.
//!
//! What always holds: outside of development no channel is on this machine or on a private address; a name that leads to one by
//! convention, or a port that is no web server's, needs the operator's word for exactly that host.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Which addresses a channel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHosts {
    /// Only `https` and public hosts.
    Public,
    /// Also `http` and this machine or its network; for development.
    Any,
}

/// Ends of names that no public name has, or that only a private network answers.
const PRIVATE: [&str; 7] = ["localhost", "local", "internal", "lan", "home", "corp", "intranet"];
/// Ends of names by which others lead to private addresses: services that answer with the address in the name or always with this
/// machine, clusters, and networks at home.
const LEADING: [&str; 31] = [
    "nip.io",
    "sslip.io",
    "xip.io",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "lacolhost.com",
    "traefik.me",
    "local.gd",
    "localho.st",
    "lcl.host",
    "local-ip.co",
    "local-ip.sh",
    "backname.io",
    "readme.local",
    "1u.ms",
    "rbndr.us",
    "plex.direct",
    "ts.net",
    "svc",
    "consul",
    "pod",
    "node",
    "localdomain",
    "private",
    "home.arpa",
    "arpa",
    "test",
    "invalid",
    "onion",
    "alt",
];
/// Where web servers with TLS are.
const PORTS: [u16; 2] = [443, 8443];

/// Why a channel cannot be there, without the operator's word and with it.
pub const fn reason(host: Hosted) -> &'static str {
    match host {
        Hosted::Public => "",
        Hosted::Private => "must be https on a public host: this machine and private networks are for development only",
        Hosted::Leading => "is at a name that leads to private hosts by convention",
        Hosted::Port => "is at a port where web servers seldom are",
    }
}

/// What a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosted {
    /// Anywhere but on this machine or on a private network, as far as its name tells.
    Public,
    /// On this machine, or on a private network.
    Private,
    /// At a name that leads to a private host by convention.
    Leading,
    /// At a port that is no web server's.
    Port,
}

/// What the host of a URL is.
pub fn hosted(url: &Url) -> Hosted {
    let found = match url.host() {
        Some(Host::Domain(name)) => of_name(&name.trim_end_matches('.').to_ascii_lowercase()),
        Some(Host::Ipv4(address)) if is_public_v4(address) => Hosted::Public,
        Some(Host::Ipv6(address)) if is_public_v6(address) => Hosted::Public,
        _ => Hosted::Private,
    };
    let is_odd = url.port().is_some_and(|port| !PORTS.contains(&port));
    if found == Hosted::Public && is_odd { Hosted::Port } else { found }
}

/// The host with its port, where that is another than the scheme's: what the operator has to repeat.
pub fn spelled(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn of_name(name: &str) -> Hosted {
    let ends = |end: &str| name == end || name.strip_suffix(end).is_some_and(|before| before.ends_with('.'));
    if !name.contains('.') || PRIVATE.iter().any(|end| ends(end)) {
        Hosted::Private
    } else if LEADING.iter().any(|end| ends(end)) || has_private_address(name) {
        Hosted::Leading
    } else {
        Hosted::Public
    }
}

/// Whether a name has a private address in it, with dots or dashes: services that nobody has heard of yet work like that, too.
fn has_private_address(name: &str) -> bool {
    let numbers: Vec<Option<u8>> = name.split(['.', '-']).map(|part| part.parse().ok()).collect();
    numbers.windows(4).any(|four| match four {
        [Some(a), Some(b), Some(c), Some(d)] => !is_public_v4(Ipv4Addr::new(*a, *b, *c, *d)),
        _ => false,
    })
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    // Shared (RFC 6598), IETF protocol (RFC 6890), relays of 6to4 (RFC 7526), benchmarking (RFC 2544), and all from multicast up.
    let special = (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (18..20).contains(&second))
        || first >= 224
        || first == 0;
    !special && !address.is_private() && !address.is_loopback() && !address.is_link_local() && !address.is_documentation()
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    // Global unicast (RFC 4291) without protocol assignments such as Teredo (RFC 2928), documentation (RFC 3849, RFC 9637), 6to4
    // (RFC 3056) and ISATAP (RFC 5214), which can carry a private address.
    match address.segments() {
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => false,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Hosted::{Leading, Port, Private, Public};

    #[test]
    fn a_host_is_what_its_name_address_and_port_tell() {
        for (url, expected) in [
            ("https://api.openai.com/v1", Public),
            ("https://api.openai.com:443/v1", Public),
            ("https://api.openai.com.:8443/v1", Public),
            ("https://API.Example.COM", Public),
            ("https://8.8.8.8", Public),
            ("https://[2606:4700::1111]", Public),
            ("https://v1-0-0-2.example.com", Public),
            ("https://8-8-8-8.example.com", Public),
            ("https://sslip.io.example.com", Public),
            ("https://notnip.io", Public),
            ("https://latest.me", Public),
            // Addresses, however they are written.
            ("https://127.0.0.1", Private),
            ("https://127.1", Private),
            ("https://127.0.0.1.", Private),
            ("https://0x7f.1", Private),
            ("https://0177.0.0.1", Private),
            ("https://2130706433", Private),
            ("https://0", Private),
            ("https://10.1.2.3:8443", Private),
            ("https://169.254.169.254", Private),
            ("https://192.88.99.1", Private),
            ("https://[::1]", Private),
            ("https://[::ffff:10.0.0.1]", Private),
            ("https://[::10.0.0.1]", Private),
            ("https://[64:ff9b::a00:1]", Private),
            ("https://[64:ff9b:1::a00:1]", Private),
            ("https://[2001::53aa:64c]", Private),
            ("https://[2001:db8::1]", Private),
            ("https://[2002:a00:1::]", Private),
            ("https://[2a00::5efe:a00:1]", Private),
            ("https://[2a00::200:5efe:a00:1]", Private),
            ("https://[3fff:0:1::]", Private),
            ("https://[fd00::1]", Private),
            ("https://[fec0::1]", Private),
            // Names.
            ("https://localhost", Private),
            ("https://a.localhost.", Private),
            ("https://metadata.google.internal", Private),
            ("https://api.default.svc.cluster.local", Private),
            ("https://printer.lan", Private),
            ("https://intranet", Private),
            ("https://api.default.svc", Leading),
            ("https://10.0.0.1.nip.io", Leading),
            ("https://app.127-0-0-1.sslip.io", Leading),
            ("https://localtest.me", Leading),
            ("https://a.LVH.me", Leading),
            ("https://nas.home.arpa", Leading),
            ("https://host.localdomain", Leading),
            ("https://1.0.0.127.in-addr.arpa", Leading),
            ("https://box.tail1234.ts.net", Leading),
            ("https://ip-10-0-0-1.unheard.example", Leading),
            ("https://a.192.168.0.7.unheard.example:22", Leading),
            // Ports.
            ("https://api.example.com:22", Port),
            ("https://api.example.com:6379/v1", Port),
            ("https://8.8.8.8:11434", Port),
        ] {
            assert_eq!(hosted(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_host_is_spelled_with_its_port() {
        for (url, expected) in [
            ("https://a.example/v1", "a.example"),
            ("https://a.example:443/v1", "a.example"),
            ("https://A.example:6379", "a.example:6379"),
        ] {
            assert_eq!(spelled(&Url::parse(url).unwrap()), expected);
        }
    }
}
