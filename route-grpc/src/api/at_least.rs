//! Answers that are not older than what their caller knows.

use tokio::time::timeout;

use crate::node::Node;
use crate::node::position::Position;
use crate::refusal::Refusal;

/// Waits until the node is where this token stands, but no longer than calls wait.
pub(crate) async fn reach(node: &Node, token: &str) -> Result<(), Refusal> {
    if token.is_empty() {
        return Ok(());
    }
    let position = Position::parse(token, "at_least_position")?;
    if position.epoch != node.epoch {
        return Err(Refusal::EpochChanged);
    }
    let reached = timeout(node.settings.call_wait, node.log.reach(position.seq)).await;
    reached.map_err(|_| Refusal::Behind)
}
