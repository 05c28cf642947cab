//! What a person is told of a refusal.

use std::fmt;

use super::Refusal;

const BEGUN_BY_ALL: &str =
    "too much of the requests of all connections has come in part: --unfinished-bytes";
const CUT_OFF: &str = "not all of it came while others waited for the memory that it takes: \
                       --unfinished-bytes, --memory-limit";
const POSITION_COMPACTED: &str = "the log no longer holds this position: \
                                  leave it out to begin anew, or let gaps be reported (on_gap)";
const EPOCH_CHANGED: &str = "this position is of another life of the node, which has been started since: \
     leave it out to begin anew, or, in a stream, let gaps be reported (on_gap)";
const FILTER_CHANGED: &str = "this position is of a watch of other users, or with other options: \
                              leave it out to begin anew, or let gaps be reported (on_gap)";
const FORMER_GATEWAY: &str = "this node speaks teamtalk.attach.v1 with its gateways: \
                              upgrade the gateway, see docs/upgrade.md";
const NOWHERE_TO_GO: &str =
    "no other gateway takes connections: there is nowhere to go for the MsgServers";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldInvalid(fields) => fields.fmt(f),
            Self::NotServed { problem }
            | Self::TooLarge { problem }
            | Self::AttachProtocol { problem }
            | Self::SlowConsumer { problem } => f.write_str(problem),
            Self::OfCaller(refusal) => refusal.fmt(f),
            Self::TooSlow { problem } => f.write_str(problem),
            Self::WrongPort { told } => f.write_str(told),
            Self::RequestIdReused { number } => {
                if let Some(number) = number {
                    write!(f, "requests[{number}]: ")?;
                }
                f.write_str("this request_id was published with another event or audience")
            }
            Self::NotSynced => f.write_str("the node does not know all MsgServers yet"),
            Self::Draining { .. } => f.write_str("this stream or this node is ending; come back"),
            Self::StreamLimit { limit } => write!(f, "all {limit} streams of this node are in use"),
            Self::ConnectionLimit { limit, what } => {
                write!(
                    f,
                    "this node has all of its {limit} {what}; come back later"
                )
            }
            Self::Busy => f.write_str("too many snapshots are being made"),
            Self::BegunLimit => {
                f.write_str("too much of other requests of this connection has come in part")
            }
            Self::BegunByAll => f.write_str(BEGUN_BY_ALL),
            Self::DeadlinePassed => f.write_str("the call took longer than its deadline"),
            Self::CutOff => f.write_str(CUT_OFF),
            Self::PositionCompacted => f.write_str(POSITION_COMPACTED),
            Self::EpochChanged => f.write_str(EPOCH_CHANGED),
            Self::FilterChanged => f.write_str(FILTER_CHANGED),
            Self::StreamClosed => f.write_str("an operator has closed this stream"),
            Self::NotFound { what } => write!(f, "there is no {what}, or not any more"),
            Self::NoOtherGateway { gateway } => write!(f, "{NOWHERE_TO_GO} of {gateway:?}"),
            Self::NotLeader { leader, problem } => {
                match leader {
                    Some(leader) => write!(f, "this node does not lead, but {leader}")?,
                    None => f.write_str("no node leads at the moment")?,
                }
                problem.iter().try_for_each(|it| write!(f, ": {it}"))
            }
            Self::Behind => f.write_str("the node has not come to this position yet"),
            Self::AttachSuperseded { gateway } => {
                write!(
                    f,
                    "a newer stream or life of gateway {gateway:?} is attached"
                )
            }
            Self::GatewayIdInUse { gateway, holder } => write!(
                f,
                "gateway id {gateway:?} is in use by another live process, {holder}; \
                 give each its own --gateway-id"
            ),
            Self::FormerGateway => f.write_str(FORMER_GATEWAY),
        }
    }
}
