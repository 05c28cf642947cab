//! Whether the check's own connections would be sent anything. Beside a claimed connection of the same MsgServer they
//! would not, and that is right. The node knows, so it is asked: who would get what the check is about to send?

use std::collections::HashSet;

use anyhow::Context as _;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{Event, ExplainPublishRequest, P2pCommand};

use crate::connection::Connection;
use crate::failure::Failure;

/// Who would get commands between the two users.
pub(super) struct Standing {
    broadcast: BroadcastServiceClient<Connection>,
    users: [u32; 2],
    /// Links that would get them without the check's own.
    others: HashSet<String>,
}

impl Standing {
    pub(super) fn new(channel: Connection, users: [u32; 2]) -> Self {
        Self {
            broadcast: BroadcastServiceClient::new(channel),
            users,
            others: HashSet::new(),
        }
    }

    /// Before the check's own connections are there.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        self.others = self.recipients().await?;
        Ok(())
    }

    /// With them: each would get something. While the check runs others may come, so it may be true in vain; then a
    /// delivery fails.
    pub(super) async fn is_given(&mut self) -> anyhow::Result<bool> {
        let all = self.recipients().await?;
        Ok(all.difference(&self.others).count() >= self.users.len())
    }

    async fn recipients(&mut self) -> anyhow::Result<HashSet<String>> {
        let [one, other] = self.users;
        let mut links = HashSet::new();
        for (from, to) in [(one, other), (other, one)] {
            let command = P2pCommand {
                from_user_id: from,
                to_user_id: to,
                command: "{}".into(),
            };
            let request = ExplainPublishRequest {
                event: Some(Event {
                    body: Some(Typed::P2pCommand(command)),
                    ..Event::default()
                }),
                ..ExplainPublishRequest::default()
            };
            let explained = self.broadcast.explain_publish(request).await;
            let explained = explained
                .map_err(Failure::from)
                .context("the node does not say who would get a command")?;
            links.extend(explained.into_inner().targets.into_iter().map(|it| it.link));
        }
        Ok(links)
    }
}
