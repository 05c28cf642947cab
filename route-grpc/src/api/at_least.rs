//! Answers that are not older than what their caller knows.

use tokio::time::timeout;

use crate::node::Node;
use crate::node::position::Position;
use crate::refusal::Refusal;

/// How new an answer has to be, at least.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AtLeast(Option<Position>);

impl AtLeast {
    /// As a request says it; empty: it may be of any age.
    pub(crate) fn new(token: &str) -> Result<Self, Refusal> {
        if token.is_empty() {
            return Ok(Self(None));
        }
        let position = Position::parse(token, "at_least_position")?;
        Ok(Self(Some(position)))
    }

    /// Waits until the node is there, but no longer than calls wait.
    pub(crate) async fn reach(self, node: &Node) -> Result<(), Refusal> {
        let Some(position) = self.0 else {
            return Ok(());
        };
        if position.epoch != node.epoch {
            return Err(Refusal::EpochChanged);
        }
        let reached = timeout(
            node.process.settings.call_wait,
            node.log.reach(position.seq),
        )
        .await;
        reached.map_err(|_| Refusal::Behind)?;
        node.act().map(drop)
    }
}
