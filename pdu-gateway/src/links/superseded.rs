//! Connections that end because they are asked to: one line a minute and MsgServer.

use std::time::Duration;

use route_runtime::quota::Quota;

use crate::links::peer::Peer;

/// What is to be logged of them, by the name of the MsgServer, else by its IP.
#[derive(Debug)]
pub struct Superseded(Quota);

impl Default for Superseded {
    fn default() -> Self {
        Superseded(Quota::new(1))
    }
}

impl Superseded {
    /// One has. `Some` if that is to be said, with how many were left out.
    pub fn happened(&self, now: Duration, peer: &Peer) -> Option<u64> {
        let whose = match &peer.name {
            Some(name) => name.to_string(),
            None => peer.address.ip().to_string(),
        };
        self.0.take(now, &whose, 1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn one_a_minute_is_said_of_each_msg_server() {
        let superseded = Superseded::default();
        let at = Duration::from_secs;
        let from = |address: &str, name: Option<&str>| Peer {
            name: name.map(|name| name.parse().unwrap()),
            ..Peer::from(address.parse::<SocketAddr>().unwrap())
        };

        let said = |now, peer: Peer| superseded.happened(at(now), &peer);
        assert_eq!(said(5, from("10.0.0.7:1", None)), Some(0));
        assert_eq!(said(6, from("10.0.0.7:2", None)), None);
        assert_eq!(said(7, from("10.0.0.8:1", None)), Some(0));
        assert_eq!(said(7, from("10.0.0.7:3", Some("m1"))), Some(0));
        assert_eq!(said(8, from("10.0.0.8:4", Some("m1"))), None);
        assert_eq!(said(65, from("10.0.0.7:5", None)), Some(1));
    }
}
