//! Calls that another node passes on: it says for whom, and is believed if it has the role `node`.

use std::sync::Arc;

use route_access::{Identity, Rights, Role, Vouched};
use tonic::codegen::http::HeaderMap;

use super::Access;
use super::methods::Part;
use super::peer::{Exposure, Peer};
use crate::refusal::OfCaller;

/// Which node passes a call on, by its id. Nothing is decided by what it says, but that nobody passes the call on again.
pub(crate) const FORWARDED_BY: &str = "teamtalk-forwarded-by";

/// For whom a node passes a call on, as [`Vouched::to_text`] writes it. Of nodes alone it counts.
pub(crate) const FORWARDED_FOR: &str = "teamtalk-forwarded-for";

/// How a call came that another node has passed on.
#[derive(Debug)]
pub(super) struct Passed {
    /// Who that is.
    pub(super) node: Identity,
    /// It was called by a socket of its host.
    pub(super) is_local: bool,
}

impl Passed {
    /// What logs call an operator at that node's socket: there nobody shows who he is.
    pub(super) const LOCAL: &'static str = "local";
}

impl Access {
    /// Who is to be judged: whoever has sent these headers, or the one for whom a node says it passes the call on.
    ///
    /// # Errors
    ///
    /// What was shown is wrong; or somebody says such a thing who is no node, or of a call that no node passes on.
    pub(super) fn who(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        part: Part,
    ) -> Result<(Identity, Option<Passed>), OfCaller> {
        let mut said = headers.get_all(FORWARDED_FOR).iter();
        // Where nobody is judged, nobody is believed.
        let Some(text) = said.next().filter(|_| self.judges(peer)) else {
            return Ok((self.identify(peer, headers)?, None));
        };
        let node = self.identify(peer, headers).map_err(of_node)?;
        self.check_node(peer, &node)?;
        if part != Part::Site || said.next().is_some() {
            return Err(forwarding(
                "it is there twice, or of a call that no node passes on",
            ));
        }
        let vouched = Vouched::from_text(text.as_bytes());
        let vouched = vouched.map_err(|error| forwarding(&error.to_string()))?;
        let is_local = vouched.is_local;
        Ok((vouched.identity, Some(Passed { node, is_local })))
    }

    /// Refuses whoever is no node, or none any more.
    pub(super) fn check_node(&self, peer: &Peer, node: &Identity) -> Result<(), OfCaller> {
        self.check_credentials(peer, node).map_err(of_node)?;
        match self.rights(peer, node).has(Role::Node) {
            true => Ok(()),
            false => Err(forwarding(&format!(
                "{} does not have the role node, so that it may not pass calls on",
                node.name()
            ))),
        }
    }

    /// What he may do, as of now, who has called like this.
    pub(super) fn rights_of(
        &self,
        peer: &Peer,
        identity: &Identity,
        passed: Option<&Passed>,
    ) -> Arc<Rights> {
        match passed {
            // As at a socket here.
            Some(passed) if passed.is_local => Arc::clone(&self.usual.everything),
            Some(_) | None => self.rights(peer, identity),
        }
    }

    /// Somebody has to be somebody, on a connection of this peer.
    pub(super) fn judges(&self, peer: &Peer) -> bool {
        // At a socket nobody has to show anything.
        self.policy.is_some() && peer.exposure != Exposure::Process
    }
}

/// The same refusal, of the node that passes a call on.
#[allow(clippy::needless_pass_by_value)] // as `map_err` has it
pub(super) fn of_node(refusal: OfCaller) -> OfCaller {
    forwarding(&refusal.to_string())
}

fn forwarding(problem: &str) -> OfCaller {
    OfCaller::Forwarding {
        problem: format!("{FORWARDED_FOR}: {problem}"),
    }
}
