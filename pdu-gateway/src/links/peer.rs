//! Who is at the other end of a connection: an address, and a name if the operator gave one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use route_proto::attach;

/// The other end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The name of its MsgServer.
    pub name: Option<Name>,
}

impl From<SocketAddr> for Peer {
    /// Without a name. An IPv4 address may come in its IPv6 form; links of one MsgServer have to look alike.
    fn from(address: SocketAddr) -> Self {
        Peer {
            address: SocketAddr::new(address.ip().to_canonical(), address.port()),
            name: None,
        }
    }
}

impl Peer {
    /// What its MsgServer is known by: its name, or else its IP.
    pub fn identity(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.address.ip().to_string(),
        }
    }
}

/// A MsgServer's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // In logs it would be taken for that address.
        if text.parse::<IpAddr>().is_ok() {
            return Err(
                "the name of a MsgServer is no IP address; its addresses are told by --msg-server NAME=IP",
            );
        }
        match attach::is_msg_server_name(text) {
            true => Ok(Name(text.into())),
            false => Err(
                "the name of a MsgServer is 1 to 63 letters, digits, dots, dashes or underscores",
            ),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_plain_characters() {
        for right in ["a", "msg-1.site_B", "192.0.2", &"x".repeat(63)] {
            assert_eq!(right.parse::<Name>().unwrap().as_str(), right);
        }
        for wrong in [
            "",
            "msg 1",
            "msg/1",
            "10.0.0.1",
            "10.0.0.1:8200",
            "m\u{e9}",
            "a=b",
            &"x".repeat(64),
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_ipv4_address_is_one_in_either_form() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:7".parse().unwrap();
        let plain: SocketAddr = "10.0.0.1:7".parse().unwrap();

        assert_eq!(Peer::from(mapped), Peer::from(plain));
    }
}
