//! Where a stream begins: now, where an earlier one ended, or behind a gap.

use route_proto::v1::{Gap, GapPolicy, GapReason};

use crate::node::Node;
use crate::node::position::Position;
use crate::refusal::Refusal;

/// Where it stands in a request.
const FIELD: &str = "resume_position";

/// The beginning of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// There was no earlier one.
    Now,
    /// Nothing was missed: go on after this.
    Resumed(u64),
    /// Say this, and go on after that.
    Gap(Gap, u64),
}

/// What is to be done about a gap, as asked for.
pub(crate) fn gap_policy(number: i32) -> Result<GapPolicy, Refusal> {
    let unknown = |_| Refusal::field("on_gap", format!("{number} is no policy"));
    GapPolicy::try_from(number).map_err(unknown)
}

/// Refuses a resume position that cannot be one.
pub(crate) fn check(token: &str) -> Result<(), Refusal> {
    if !token.is_empty() {
        Position::parse(token, FIELD)?;
    }
    Ok(())
}

/// Judges the resume position of a request, whose filter, if that matters, is told apart by this.
pub(crate) fn start(
    node: &Node,
    token: &str,
    on_gap: GapPolicy,
    filter: Option<u64>,
) -> Result<Start, Refusal> {
    if token.is_empty() {
        return Ok(Start::Now);
    }
    let (head, tail) = node.log.extent();
    let from = Position::parse(token, FIELD)?;
    let (reason, missed) = if from.epoch != node.epoch {
        (GapReason::EpochChanged, 0)
    } else if from.seq > head {
        let problem = "not a position that this API gave out";
        return Err(Refusal::field(FIELD, problem));
    } else if filter.is_some() && from.filter.is_some() && from.filter != filter {
        (GapReason::FilterChanged, 0)
    } else if from.seq < tail {
        (GapReason::Compacted, tail - from.seq)
    } else {
        return Ok(Start::Resumed(from.seq));
    };
    if on_gap == GapPolicy::Fail {
        return Err(match reason {
            GapReason::EpochChanged => Refusal::EpochChanged,
            GapReason::FilterChanged => Refusal::FilterChanged,
            GapReason::Compacted | GapReason::SlowConsumer | GapReason::Unspecified => {
                Refusal::PositionCompacted
            }
        });
    }
    // What is held goes back to the tail; of another filter, what was read before counts for nothing.
    let to = if reason == GapReason::FilterChanged {
        tail.max(from.seq)
    } else {
        tail
    };
    let gap = Gap {
        from_position: token.to_owned(),
        to_position: node.position(to).token(),
        missed_count: missed,
        reason: reason.into(),
    };
    Ok(Start::Gap(gap, to))
}

/// What the reader of an open stream missed because it fell behind.
pub(crate) fn fell_behind(node: &Node, from: u64, to: u64, filter: Option<u64>) -> Gap {
    let position = |seq| Position {
        filter,
        ..node.position(seq)
    };
    Gap {
        from_position: position(from).token(),
        to_position: position(to).token(),
        missed_count: to - from,
        reason: GapReason::SlowConsumer.into(),
    }
}
