//! What flags take, beside numbers and times.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::links::peer::Name;

/// Where a listener is, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOn {
    /// Where it listens.
    pub address: SocketAddr,
    /// The one MsgServer that connects there.
    pub name: Option<Name>,
}

/// Hosts of MsgServers, as one flag gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHosts(pub Vec<(IpAddr, Name)>);

/// `ADDR` or `ADDR=NAME`.
pub(super) fn listen_on(text: &str) -> Result<ListenOn, String> {
    let (address, name) = text
        .split_once('=')
        .map_or((text, None), |(address, name)| (address, Some(name)));
    Ok(ListenOn {
        address: address
            .parse()
            .map_err(|_| "write IP:PORT, or IP:PORT=NAME")?,
        name: name.map(str::parse).transpose()?,
    })
}

/// `NAME=IP[,IP…]`, and more of them after further commas, as the environment has them.
pub(super) fn named_hosts(text: &str) -> Result<NamedHosts, String> {
    let mut name: Option<Name> = None;
    let mut hosts = Vec::new();
    for part in text.split(',') {
        let host = match part.split_once('=') {
            Some((new, host)) => {
                name = Some(new.parse()?);
                host
            }
            None => part,
        };
        let name = name.clone().ok_or("write NAME=IP, or NAME=IP,IP")?;
        let address: IpAddr = host
            .parse()
            .map_err(|_| format!("{host:?} is no IP address"))?;
        hosts.push((address.to_canonical(), name));
    }
    Ok(NamedHosts(hosts))
}

/// The kernel would find out when the gateway begins to listen, which is when a node has welcomed it.
pub(super) fn listeners_differ(listeners: &[ListenOn]) -> Result<(), String> {
    for (at, listener) in listeners.iter().enumerate() {
        let one = listener.address;
        for other in listeners[..at].iter().map(|other| other.address) {
            if one.port() == 0 || one.port() != other.port() {
                continue;
            }
            if one == other {
                return Err(format!("--listen {one} is given twice"));
            }
            if takes_those_of(one.ip(), other.ip()) || takes_those_of(other.ip(), one.ip()) {
                return Err(format!(
                    "--listen {one} and --listen {other} take the same connections: give each a port of its own"
                ));
            }
        }
    }
    Ok(())
}

/// `[::]` takes what comes by IPv4, too.
fn takes_those_of(any: IpAddr, other: IpAddr) -> bool {
    any.is_unspecified() && (any.is_ipv6() || other.is_ipv4())
}

/// Of a host that may not connect, the name says nothing.
pub(super) fn hosts_are_allowed(named: &[NamedHosts], allowed: &[IpNet]) -> Result<(), String> {
    let mut hosts = named.iter().flat_map(|named| &named.0);
    let outside = hosts.find(|(host, _)| !allowed.iter().any(|network| network.contains(host)));
    match outside {
        Some((host, name)) => Err(format!(
            "--msg-server {name}={host} is outside of --allow-cidr, so it could not connect: add its network there"
        )),
        None => Ok(()),
    }
}

/// A host is of one MsgServer, as far as we can tell: several on one host need listeners of their own.
pub(super) fn hosts_have_one_name(named: &[NamedHosts]) -> Result<(), String> {
    let mut names = HashMap::new();
    for (address, name) in named.iter().flat_map(|named| &named.0) {
        match names.insert(*address, name) {
            Some(other) if other != name => {
                return Err(format!(
                    "--msg-server: {address} is {other} and {name}; several MsgServers on one host are told apart by \
                    listeners of their own, --listen ADDR=NAME"
                ));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// A proxy that may not connect says nothing.
pub(super) fn proxies_are_allowed(proxies: &[IpNet], allowed: &[IpNet]) -> Result<(), String> {
    let overlap = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    let outside = proxies
        .iter()
        .find(|proxy| !allowed.iter().any(|allowed| overlap(proxy, allowed)));
    match outside {
        Some(proxy) => Err(format!(
            "--proxy-protocol-from {proxy} is outside of --allow-cidr, which is for proxies too"
        )),
        None => Ok(()),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let Some((address, length)) = text.split_once('/') else {
        return Err("write a network such as 10.1.0.0/16; one address is 10.1.2.3/32".to_owned());
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{address} is no IP address"))?;
    let (kind, longest) = match address {
        IpAddr::V4(_) => ("IPv4", 32),
        IpAddr::V6(_) => ("IPv6", 128),
    };
    let in_range = length
        .parse()
        .ok()
        .and_then(|length| IpNet::new(address, length).ok());
    in_range.ok_or_else(|| {
        format!(
            "the prefix length of an {kind} network is a number from 0 to {longest}, not {length}"
        )
    })
}

pub(super) fn gateway_id(text: &str) -> Result<String, &'static str> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=128).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("an id is 1 to 128 printable ASCII characters")
    }
}

/// A number of one byte, decimal or hexadecimal.
pub(super) fn client_type(text: &str) -> Result<u8, &'static str> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a client type is a number from 0 to 0xff")
}
