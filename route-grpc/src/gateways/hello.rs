//! Who a gateway says that it is, and what may speak against it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use route_dialect::Dialect;
use route_proto::attach::v1::AttachHello;

use super::clock_offset::signed;
use super::{MAX_GATEWAYS, check};
use crate::clock::micros;
use crate::dialects::{Dialects, Spoken};
use crate::limits::MAX_ID_BYTES;
use crate::refusal::Refusal;

/// Longest secret of a gateway, bytes.
const MAX_SECRET: usize = 64;

/// Longest description, bytes.
const MAX_DESCRIPTION: usize = 1024;

/// Who wants to attach: the checked contents of `AttachHello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Stable name.
    pub(crate) id: String,
    /// Its address and what it says of itself, for people.
    pub(crate) whence: String,
    /// The host that it is on; none: it is in this process, and ends with it.
    pub(crate) host: Option<IpAddr>,
    /// Which life of the gateway; ordered.
    pub(crate) incarnation: u64,
    /// Which stream of this life.
    pub(crate) attempt: u64,
    /// What shows that it is this life.
    pub(crate) secret: Secret,
    /// Number of the last Downlink of this node that it has taken; 0 if there was none.
    pub(crate) taken: u64,
    /// Of the newest delivery that it has taken, of all nodes.
    pub(crate) position: u64,
    /// The newest term that has welcomed it, by its own word; 0: none.
    pub(crate) term: u64,
    /// What its MsgServers speak.
    pub(crate) spoken: Spoken,
    /// What it says of that, which the node learns when it lets the gateway in.
    pub(crate) dialect: Option<Dialect>,
    /// What its clock has to be set forward by to show the node's time, microseconds.
    pub(crate) clock_offset: i64,
}

impl Hello {
    /// Checks what a gateway at this address says of itself, to the node of this epoch. Without an address it is in this
    /// process.
    pub(crate) fn check(
        hello: AttachHello,
        peer: Option<SocketAddr>,
        epoch: u64,
        dialects: &Dialects,
        now: Duration,
    ) -> Result<Self, Refusal> {
        let id = hello.gateway_id;
        if !is_id(&id) {
            let problem = format!("1 to {MAX_ID_BYTES} bytes of printable ASCII");
            return Err(Refusal::field("hello.gateway_id", problem));
        }
        check::count("hello.incarnation", hello.incarnation)?;
        check::count("hello.attempt", hello.attempt)?;
        check::number("hello.taken", hello.taken)?;
        check::number("hello.position", hello.position)?;
        check::number("hello.term", hello.term)?;
        check::number("hello.clock_micros", hello.clock_micros)?;
        check::length("hello.secret", hello.secret.len(), MAX_SECRET)?;
        check::length(
            "hello.description",
            hello.description.len(),
            MAX_DESCRIPTION,
        )?;
        check::length("hello.roster", hello.roster.len(), MAX_GATEWAYS)?;
        if !hello.roster.iter().all(|id| is_id(id)) {
            return Err(Refusal::field("hello.roster", "one is no id of a gateway"));
        }
        let host = peer.map(|peer| peer.ip());
        let peer = peer.map_or_else(|| "this process".to_owned(), |peer| peer.to_string());
        let description = hello.description.chars().filter(|it| !it.is_control());
        let description = description.collect::<String>();
        Ok(Self {
            id,
            whence: format!("{peer} ({description})"),
            host,
            incarnation: hello.incarnation,
            attempt: hello.attempt,
            taken: if hello.epoch == epoch { hello.taken } else { 0 },
            spoken: dialects.learn(None)?,
            dialect: Dialects::read(&hello.dialect)?,
            position: hello.position,
            term: hello.term,
            secret: Secret(hello.secret),
            clock_offset: micros(now).saturating_sub(signed(hello.clock_micros)),
        })
    }
}

fn is_id(id: &str) -> bool {
    let printable = id.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (1..=MAX_ID_BYTES).contains(&id.len()) && printable
}

/// What only one life of a gateway knows. Nobody is shown it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(super) Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What an accepted hello means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A gateway that the node does not have.
    Fresh,
    /// One of the node's gateways, on a new stream.
    Resumed,
    /// A new life of a gateway whose old life, named here, has to end first.
    Replaces(u64),
}

/// Why a hello is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Objection {
    /// A newer stream of this life is known.
    Superseded,
    /// Another life of this id is attached. Its stream may be about to break, if it was killed and
    /// restarted.
    IdInUse {
        /// Whence the other one is.
        holder: String,
    },
    /// Another id has this incarnation, so links could not be told apart.
    IncarnationInUse,
    /// It has taken what it was never handed.
    TookTooMuch,
    /// This life has said another dialect before.
    OtherDialect,
    /// There are too many.
    TooMany,
}

impl Objection {
    /// As this gateway is told it.
    pub(crate) fn refusal(self, gateway: String) -> Refusal {
        match self {
            Self::Superseded => Refusal::AttachSuperseded { gateway },
            Self::IdInUse { holder } => Refusal::GatewayIdInUse { gateway, holder },
            Self::IncarnationInUse => Refusal::field(
                "hello.incarnation",
                "belongs to a gateway with another id; it has to be unique",
            ),
            Self::TookTooMuch => {
                Refusal::field("hello.taken", "there was no such Downlink of this node")
            }
            Self::OtherDialect => Refusal::field(
                "hello.dialect",
                "a gateway keeps the one that it began with",
            ),
            Self::TooMany => Refusal::TooLarge {
                problem: "this node has as many gateways as it can have".to_owned(),
            },
        }
    }
}
