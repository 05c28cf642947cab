//! Gateways that are drained.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use route_proto::admin::v1alpha1::{
    DrainGatewayRequest, DrainGatewayResponse, DrainState, MovedMsgServer,
};
use tokio::sync::watch;
use tonic::Status;

use crate::node::Node;
use crate::node::drains::{Moved, Progress, State};
use crate::node::gateways::Names;
use crate::refusal::Refusal;

/// For one MsgServer, unless the request says otherwise.
const USUAL_SLOT: Duration = Duration::from_secs(1);

/// The shortest.
const SHORTEST_SLOT: Duration = Duration::from_millis(10);

/// The longest.
const LONGEST_SLOT: Duration = Duration::from_secs(60);

/// Whoever follows a drain.
struct Follower {
    node: Arc<Node>,
    progress: watch::Receiver<Progress>,
    /// Moves that it was told of.
    told: usize,
    /// It was told how it ends.
    is_over: bool,
}

/// Drains a gateway, or no longer, and tells how far that is.
pub(super) fn drain(
    node: &Arc<Node>,
    request: &DrainGatewayRequest,
) -> Result<impl Stream<Item = Result<DrainGatewayResponse, Status>> + Send + use<>, Refusal> {
    let slot = slot(request)?;
    node.act().map(drop)?;
    if request.undo {
        let links = node.undo_drain(&request.gateway_id)?;
        let undone = DrainGatewayResponse {
            state: DrainState::Undone.into(),
            link_count: count(links),
            node_time: Some(node.clock.timestamp(node.now())),
            ..DrainGatewayResponse::default()
        };
        return Ok(stream::iter([Ok(undone)]).left_stream());
    }
    let mut progress = node.drain_gateway(&request.gateway_id, slot)?.progress();
    progress.mark_changed();
    let follower = Follower {
        node: Arc::clone(node),
        progress,
        told: 0,
        is_over: false,
    };
    Ok(stream::unfold(follower, Follower::next).right_stream())
}

fn slot(request: &DrainGatewayRequest) -> Result<Duration, Refusal> {
    let Some(slot) = request.slot else {
        return Ok(USUAL_SLOT);
    };
    let slot = Duration::try_from(slot).ok();
    let slot = slot.filter(|it| (SHORTEST_SLOT..=LONGEST_SLOT).contains(it));
    slot.ok_or_else(|| Refusal::field("slot", "has to be from 10 ms to 1 m"))
}

impl Follower {
    async fn next(mut self) -> Option<(Result<DrainGatewayResponse, Status>, Self)> {
        if self.is_over {
            return None;
        }
        let draining = self.node.draining();
        let changed = tokio::select! {
            changed = self.progress.changed() => changed.is_ok(),
            () = draining.cancelled() => false,
        };
        if !changed {
            self.is_over = true;
            return Some((Err(self.node.ending().into()), self));
        }
        let message = self.message();
        Some((Ok(message), self))
    }

    fn message(&mut self) -> DrainGatewayResponse {
        let names = self.node.gateway_names();
        let now = self.node.now();
        let progress = self.progress.borrow_and_update();
        let (state, is_over) = match progress.state {
            State::Moving => (DrainState::Moving, false),
            State::Done => (DrainState::Done, true),
            State::Undone => (DrainState::Undone, true),
            State::Gone => (DrainState::Gone, true),
        };
        let moved = progress.since(self.told).map(|it| shown(it, &names));
        let message = DrainGatewayResponse {
            state: state.into(),
            link_count: count(progress.links),
            moved_count: count(progress.moved()),
            moved: moved.collect(),
            node_time: Some(self.node.clock.timestamp(now)),
        };
        (self.told, self.is_over) = (progress.moved(), is_over);
        message
    }
}

fn shown(moved: &Moved, names: &Names) -> MovedMsgServer {
    let to = moved.to.map(|(link, _)| link);
    MovedMsgServer {
        msg_server: moved.msg_server.clone(),
        link: moved.link.to_string(),
        to_link: to.map_or_else(String::new, |to| to.to_string()),
        to_gateway_id: to.map_or_else(String::new, |to| names.of(to.gateway).gateway_id),
        gap_duration: moved
            .to
            .and_then(|(_, gap)| prost_types::Duration::try_from(gap).ok()),
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
