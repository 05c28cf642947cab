//! The one place where a refusal becomes a gRPC status, with `google.rpc` details.

mod decoding;
mod mistakes;
mod of_caller;
mod told;
mod violations;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use route_proto::attach::v1 as attach;
use route_proto::pieces::TOO_MANY_PIECES;
use route_proto::v1::ErrorReason;
use tonic::codegen::http::HeaderMap;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub(crate) use mistakes::Mistakes;
pub(crate) use of_caller::{OfCaller, REFUSED_NODE};
use violations::Violations;

/// Domain of every `google.rpc.ErrorInfo` that this service sends.
const DOMAIN: &str = "route.teamtalk";

/// When to ask again while a node is not ready.
const NOT_SYNCED_RETRY: Duration = Duration::from_millis(500);

/// When to ask again a node that does not lead: the next leader is there soon.
const NOT_LEADER_RETRY: Duration = Duration::from_millis(500);

/// When a caller that meets a draining node should come back: its successor needs a moment.
pub(crate) const DRAIN_RETRY: Duration = Duration::from_millis(500);

/// When to come back to a node that has too much to do.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// When to come back as one that reads faster, or sends less at a time: soon, but not in a loop.
const SOON: Duration = Duration::from_millis(500);

/// Why a call or a stream is refused or ended. Named after what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Mend the fields.
    FieldInvalid(Violations),
    /// Choose another id: what it stands for was another one. `number`: of the request, if there are several.
    RequestIdReused { number: Option<usize> },
    /// Call what there is.
    NotServed { problem: String },
    /// Call another port.
    WrongPort { told: &'static str },
    /// Ask for less, or send less.
    TooLarge { problem: String },
    /// Ask again soon: the node is collecting its gateways.
    NotSynced,
    /// Go to another node, or come back after `retry`.
    Draining { retry: Duration },
    /// Close a stream, or come back later.
    StreamLimit { limit: usize },
    /// Close a connection, go to another node, or come back later.
    ConnectionLimit { limit: usize, what: &'static str },
    /// Come back later: too many snapshots are being made.
    Busy,
    /// Send fewer requests at a time, or shorter ones.
    BegunLimit,
    /// Send it again: requests of all connections have taken what there is for those that come in.
    BegunByAll,
    /// Send faster.
    TooSlow { problem: &'static str },
    /// Ask again, with more time.
    DeadlinePassed,
    /// Send it again, and all of it at once: others wait for the memory that it takes.
    CutOff,
    /// Read faster.
    SlowConsumer { problem: String },
    /// Start from now, or with a snapshot.
    PositionCompacted,
    /// Start from now, or with a snapshot: the node has been restarted.
    EpochChanged,
    /// Start with a snapshot, or ask for what the position is of.
    FilterChanged,
    /// Ask again soon: the node has not come to the position that the answer has to have.
    Behind,
    /// Stay away: a newer stream or a newer process has this gateway id.
    AttachSuperseded { gateway: String },
    /// Choose another `--gateway-id`.
    GatewayIdInUse { gateway: String, holder: String },
    /// Mend the gateway.
    AttachProtocol { problem: String },
    /// Ask who has closed it, or come back.
    StreamClosed,
    /// Look which there are.
    NotFound { what: String },
    /// Start another gateway, or wait until one is back.
    NoOtherGateway { gateway: String },
    /// Upgrade the gateway.
    FormerGateway,
    /// Go to the node that leads, or come back soon. `leader`: the URL of its API, if one leads. `problem`: why the call was
    /// not passed on to it.
    NotLeader {
        leader: Option<String>,
        problem: Option<String>,
    },
    /// Be somebody else.
    OfCaller(OfCaller),
}

/// A reason as it stands in one of the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Of the public API.
    Api(ErrorReason),
    /// Of Attach.
    Attach(attach::ErrorReason),
}

impl Reason {
    /// As its `.proto` file has it.
    pub(crate) fn as_str_name(self) -> &'static str {
        match self {
            Self::Api(reason) => reason.as_str_name(),
            Self::Attach(reason) => reason.as_str_name(),
        }
    }

    /// The same without the prefix that proto enums carry.
    fn text(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }
}

impl Refusal {
    /// The node drains.
    pub(crate) const DRAINING: Self = Self::Draining { retry: DRAIN_RETRY };

    /// An argument is wrong.
    pub(crate) fn field(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::FieldInvalid(Violations::one(field.into(), problem.into()))
    }

    /// This, and what else was found. Of fields that are wrong all are named; of other reasons, the first is told.
    fn and(mut self, other: Self) -> Self {
        if let (Self::FieldInvalid(fields), Self::FieldInvalid(others)) = (&mut self, other) {
            fields.add(others);
        }
        self
    }

    /// The same of something that stands in a list of a request.
    pub(crate) fn of_part(self, list: &str, number: usize) -> Self {
        self.within(&format!("{list}[{number}]"))
    }

    /// The same of something that stands in this field of a request.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        if let Self::FieldInvalid(fields) = &mut self {
            fields.stand_in(outer);
        } else if let Self::TooLarge { problem } = &mut self {
            *problem = format!("{outer}: {problem}");
        }
        self
    }

    /// What tonic says of a request that it cannot read, with a code and without a reason. `longest`
    /// says how long one may be.
    pub(crate) fn of_unread(status: &Status, longest: impl fmt::Display) -> Option<Self> {
        const NOT_READ: &str = "failed to decode Protobuf message: ";
        const TOO_LONG: &str = "Error, decoded message length too large";
        const NOT_UNPACKED: &str = "Error decompressing: ";
        let message = status.message();
        let problem = message.to_owned();
        let (code, is_packed) = (status.code(), message.starts_with(NOT_UNPACKED));
        let is_too_long = code == Code::OutOfRange && message.starts_with(TOO_LONG)
            || code == Code::ResourceExhausted && is_packed;
        if is_too_long {
            let problem = format!("the request, unpacked, is longer than {longest}");
            return Some(Self::TooLarge { problem });
        }
        if code == Code::OutOfRange && message == TOO_MANY_PIECES {
            return Some(Self::TooLarge { problem });
        }
        if code != Code::Internal {
            return None;
        }
        match is_packed {
            true => Some(Self::field("request", problem)),
            false => message.strip_prefix(NOT_READ).map(Self::of_decoding),
        }
    }

    fn of_decoding(told: &str) -> Self {
        let (field, problem) = decoding::field(told);
        Self::field(field, problem)
    }

    /// A gateway does not keep to the protocol.
    pub(crate) fn protocol(problem: impl Into<String>) -> Self {
        Self::AttachProtocol {
            problem: problem.into(),
        }
    }

    /// A gateway's message could not be read. If it was too long, or one field of it cannot be what it is, the gateway
    /// can do something about it.
    pub(crate) fn unreadable(status: &Status) -> Self {
        let problem = status.message().to_owned();
        if status.code() == Code::OutOfRange {
            Self::TooLarge { problem }
        } else {
            Self::undecodable(status).unwrap_or(Self::AttachProtocol { problem })
        }
    }

    /// The same if it could not be decoded. The decoder says no more than a text, in which the field stands first.
    pub(crate) fn undecodable(status: &Status) -> Option<Self> {
        let text = status.message();
        let text = text.strip_prefix("failed to decode Protobuf message: ")?;
        let (path, rest) = text.split_once(": ").unwrap_or_default();
        let named = path.split_once('.');
        let Some((message, field)) = named.filter(|_| rest.contains("invalid string value")) else {
            return Some(Self::protocol(text));
        };
        let place = match message {
            "AttachHello" => "hello",
            "Uplink" => "uplink",
            "LinkOpened" => "entries.opened",
            "Envelope" => "entries.envelope",
            "StatusQuery" => "entries.query",
            other => other,
        };
        let problem = text.rsplit(": ").next().unwrap_or(text);
        Some(Self::field(format!("{place}.{field}"), problem))
    }

    /// The reason as it stands in the contract.
    pub(crate) fn reason(&self) -> Reason {
        self.terms().0
    }

    /// The end of a stream that has begun.
    pub(crate) fn into_trailers(self) -> HeaderMap {
        let mut ended = Status::from(self).into_http::<()>();
        let mut trailers = std::mem::take(ended.headers_mut());
        trailers.remove(CONTENT_TYPE);
        trailers
    }

    /// What is told beside the reason: who leads, if that is it.
    fn metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::new();
        if let Self::NotLeader { leader, .. } = self {
            let leader = leader.iter().cloned();
            metadata.extend(leader.map(|it| ("leader".to_owned(), it)));
        }
        metadata
    }

    /// What the caller's program is told: reason, status code, and when to ask again.
    fn terms(&self) -> (Reason, Code, Option<Duration>) {
        use {Code as C, ErrorReason as R, attach::ErrorReason as A};
        let attach = |reason, code| (Reason::Attach(reason), code, None);
        let (reason, code, retry) = match self {
            Self::AttachSuperseded { .. } => return attach(A::AttachSuperseded, C::Aborted),
            Self::GatewayIdInUse { .. } => return attach(A::GatewayIdInUse, C::AlreadyExists),
            Self::AttachProtocol { .. } => return attach(A::AttachProtocol, C::FailedPrecondition),
            Self::FormerGateway => return attach(A::AttachProtocol, C::Unimplemented),
            Self::FieldInvalid(_) => (R::FieldInvalid, C::InvalidArgument, None),
            Self::RequestIdReused { .. } => (R::RequestIdReused, C::AlreadyExists, None),
            Self::NotServed { .. } => (R::NotServed, C::Unimplemented, None),
            Self::WrongPort { .. } => (R::WrongPort, C::Unavailable, None),
            Self::TooLarge { .. } => (R::TooLarge, C::ResourceExhausted, None),
            Self::NotSynced => (R::NotSynced, C::Unavailable, Some(NOT_SYNCED_RETRY)),
            Self::Draining { retry } => (R::Draining, C::Unavailable, Some(*retry)),
            Self::StreamLimit { .. } => (R::StreamLimit, C::ResourceExhausted, Some(BUSY_RETRY)),
            Self::ConnectionLimit { .. } => (R::ConnectionLimit, C::Unavailable, Some(BUSY_RETRY)),
            Self::Busy => (R::RateLimit, C::ResourceExhausted, Some(BUSY_RETRY)),
            Self::BegunLimit | Self::BegunByAll | Self::CutOff => {
                (R::RateLimit, C::ResourceExhausted, Some(SOON))
            }
            Self::SlowConsumer { .. } => (R::SlowConsumer, C::ResourceExhausted, Some(SOON)),
            Self::PositionCompacted => (R::PositionCompacted, C::OutOfRange, None),
            Self::EpochChanged => (R::EpochChanged, C::OutOfRange, None),
            Self::FilterChanged => (R::FilterChanged, C::FailedPrecondition, None),
            Self::StreamClosed => (R::StreamClosed, C::Aborted, None),
            Self::NotFound { .. } => (R::NotFound, C::NotFound, None),
            Self::NoOtherGateway { .. } => (R::NoOtherGateway, C::FailedPrecondition, None),
            Self::NotLeader { .. } => (R::NotLeader, C::Unavailable, Some(NOT_LEADER_RETRY)),
            Self::Behind => (R::Behind, C::Unavailable, Some(NOT_SYNCED_RETRY)),
            Self::TooSlow { .. } => (R::RequestTooSlow, C::DeadlineExceeded, None),
            Self::DeadlinePassed => (R::DeadlinePassed, C::DeadlineExceeded, None),
            Self::OfCaller(refusal) => refusal.terms(),
        };
        (Reason::Api(reason), code, retry)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (reason, code, retry) = refusal.terms();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason.text(), DOMAIN, refusal.metadata());
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        if let Refusal::FieldInvalid(fields) = &refusal {
            for wrong in fields.iter() {
                details.add_bad_request_violation(wrong.field.clone(), wrong.problem.clone());
            }
        }
        let mut status = Status::with_error_details(code, refusal.to_string(), details);
        if let Refusal::OfCaller(OfCaller::Forwarding { .. }) = refusal {
            let is_so = MetadataValue::from_static("true");
            status.metadata_mut().insert(REFUSED_NODE, is_so);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_in_the_details() {
        let status = Status::from(Refusal::field("user_ids", "more than 10000"));

        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        let info = details.error_info().expect("every refusal has ErrorInfo");
        assert_eq!(info.reason, "FIELD_INVALID");
        assert_eq!(info.domain, "route.teamtalk");
        let violations = &details.bad_request().expect("BadRequest").field_violations;
        assert_eq!(violations[0].field, "user_ids");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let unread = |message: &str| {
            let status = Status::internal(format!("failed to decode Protobuf message: {message}"));
            Refusal::of_unread(&status, "4 bytes")
        };
        let named = |field: &'static str, problem| Some(Refusal::field(field, problem));

        let problem = "invalid string value: data is not UTF-8 encoded";
        let nested =
            format!("SignatureChange.signature: Event.body: PublishRequest.event: {problem}");
        assert_eq!(
            unread(&nested),
            named("event.signature_change.signature", problem)
        );
        assert_eq!(
            unread("buffer underflow"),
            named("request", "buffer underflow")
        );
        let unread = |status: &Status| Refusal::of_unread(status, "4 bytes (--publish-bytes)");
        assert_eq!(unread(&Status::internal("a bug")), None);
        let tonics =
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        let too_large = unread(&Status::out_of_range(tonics)).expect("it is refused");
        let own = "the request, unpacked, is longer than 4 bytes (--publish-bytes)";
        assert_eq!(too_large.to_string(), own);
        assert_eq!(unread(&Refusal::PositionCompacted.into()), None);
    }

    #[test]
    fn text_that_is_none_is_refused_by_field() {
        use prost::Message;
        use route_proto::attach::v1::AttachRequest;

        // A hello whose id is one byte that is no UTF-8; an entry of an Uplink with such an address.
        let hello: &[u8] = &[10, 3, 10, 1, 0xff];
        let opened: &[u8] = &[18, 7, 10, 5, 26, 3, 10, 1, 0xff];
        for (bytes, place) in [(hello, "hello.gateway_id"), (opened, "entries.opened.peer")] {
            let error = AttachRequest::decode(bytes).expect_err("it is no text");
            let refusal = Refusal::unreadable(&Status::internal(error.to_string()));
            let Refusal::FieldInvalid(fields) = &refusal else {
                panic!("{refusal:?}");
            };
            let told = fields.to_string();
            assert!(told.starts_with(&format!("{place}: ")), "{told}");
            assert!(told.contains("UTF-8"), "{told}");
        }
        let broken = AttachRequest::decode(&[10, 3, 10][..]).expect_err("it is cut");
        let refusal = Refusal::unreadable(&Status::internal(broken.to_string()));
        assert!(
            matches!(refusal, Refusal::AttachProtocol { .. }),
            "{refusal:?}"
        );
    }

    #[test]
    fn a_draining_node_says_when_to_come_back() {
        let retry = Duration::from_millis(700);

        let status = Status::from(Refusal::Draining { retry });

        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        assert_eq!(
            details.retry_info().and_then(|info| info.retry_delay),
            Some(retry)
        );
    }
}
