//! Who may connect, and as whom.

use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ipnet::IpNet;

use crate::links::peer::{Name, Peer};

/// What all listeners of a gateway go by.
#[derive(Debug, Default)]
pub struct Admission {
    /// Who may connect.
    pub allowed: Networks,
    /// Whom an address belongs to.
    pub hosts: Hosts,
    /// Who has to say first, by a header of the PROXY protocol, whose connection it is.
    pub proxies: Networks,
}

impl Admission {
    /// The other end of a connection that came in at a listener of this name.
    pub fn peer(&self, address: SocketAddr, listener: Option<&Name>) -> Peer {
        let peer = Peer::from(address);
        let name = listener.or_else(|| self.hosts.name(peer.address.ip()));
        Peer {
            name: name.cloned(),
            ..peer
        }
    }
}

/// Addresses by their networks.
#[derive(Debug, Clone, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Exactly these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Networks(networks)
    }

    /// An IPv4 address may come in its IPv6 form.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Hosts of MsgServers that have names.
#[derive(Debug, Clone, Default)]
pub struct Hosts(HashMap<IpAddr, Name, RandomState>);

impl Hosts {
    fn name(&self, host: IpAddr) -> Option<&Name> {
        self.0.get(&host)
    }
}

impl FromIterator<(IpAddr, Name)> for Hosts {
    fn from_iter<I: IntoIterator<Item = (IpAddr, Name)>>(hosts: I) -> Self {
        Hosts(hosts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_connect_if_a_network_contains_it() {
        let networks = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
        let networks = Networks::new(networks.into());

        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::1", true),
            ("::2", false),
        ] {
            let contain = networks.contain(address.parse().unwrap());
            assert_eq!(contain, allowed, "{address}");
        }
    }

    #[test]
    fn a_name_is_of_the_listener_else_of_the_host() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let admission = Admission {
            hosts: [("10.0.0.7".parse().unwrap(), name("by-host"))]
                .into_iter()
                .collect(),
            ..Admission::default()
        };
        let named = |address: &str, listener| {
            let peer = admission.peer(address.parse().unwrap(), listener);
            peer.name.map(|name| name.to_string())
        };

        let listener = name("by-listener");
        assert_eq!(named("10.0.0.7:1", None).as_deref(), Some("by-host"));
        assert_eq!(
            named("[::ffff:10.0.0.7]:1", None).as_deref(),
            Some("by-host")
        );
        assert_eq!(
            named("10.0.0.7:1", Some(&listener)).as_deref(),
            Some("by-listener")
        );
        assert_eq!(named("10.0.0.8:1", None), None);
    }
}
