//! A user's clients are disconnected, and that is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use route_core::{ExplainedSession, UserId};
use route_proto::admin::v1alpha1::{KickUserRequest, KickUserResponse};
use route_proto::v1::{Event, Kick, KickReason, PublishRequest, event};
use tokio::time::{Instant, sleep};

use super::links::check_reason;
use super::users;
use crate::api::publisher::{Order, Publisher};
use crate::limits::check_id;
use crate::node::Node;
use crate::refusal::Refusal;

/// How long sessions are waited for, unless the request says otherwise.
const USUAL_WAIT: Duration = Duration::from_secs(5);

/// At most.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Kicks of one call.
const MOST_KICKS: usize = 64;

/// A call that can be carried out.
#[derive(Debug)]
struct Asked {
    user: UserId,
    /// 0: any.
    client_type: u8,
    kick_reason: i32,
    wait: Duration,
}

/// Kicks that are published, and what they are for.
#[derive(Debug)]
pub(super) struct Kicked {
    asked: Asked,
    until: Instant,
    before: Vec<ExplainedSession>,
    kicks: usize,
}

/// Publishes the kicks.
pub(super) async fn kick(
    node: &Node,
    publisher: &Publisher,
    request: &KickUserRequest,
) -> Result<Kicked, Refusal> {
    let asked = Asked::new(request)?;
    let called_at = node.clock.now();
    node.admit_call().await?;
    let before = asked.sessions(node);
    if before.is_empty() {
        return Err(Refusal::NotFound {
            what: format!("session of user {}", asked.user),
        });
    }
    let orders = kicks(&before)
        .into_iter()
        .map(|client_type| asked.order(publisher, client_type))
        .collect::<Result<Vec<_>, _>>()?;
    let kicks = orders.len();
    publisher.carry_out(called_at, orders, |_| ()).await?;
    Ok(Kicked {
        until: Instant::now() + asked.wait,
        asked,
        before,
        kicks,
    })
}

impl Asked {
    fn new(request: &KickUserRequest) -> Result<Self, Refusal> {
        check_id(request.user_id, "user_id")?;
        check_reason(&request.reason)?;
        let client_type = u8::try_from(request.client_type);
        let kick_reason = match request.kick_reason {
            0 => KickReason::DuplicateLogin.into(),
            reason => reason,
        };
        if kick_reason < 0 {
            return Err(Refusal::field("kick_reason", "is negative"));
        }
        let wait = match request.wait_duration {
            None => USUAL_WAIT,
            Some(wait) => {
                let wait = Duration::try_from(wait).ok();
                let wrong = || Refusal::field("wait_duration", "has to be from 0 s to 30 s");
                wait.filter(|it| *it <= LONGEST_WAIT).ok_or_else(wrong)?
            }
        };
        Ok(Self {
            user: UserId(request.user_id),
            client_type: client_type
                .map_err(|_| Refusal::field("client_type", "has to be from 0 to 255"))?,
            kick_reason,
            wait,
        })
    }

    /// What links hold of the user that is meant.
    fn sessions(&self, node: &Node) -> Vec<ExplainedSession> {
        let mut sessions = node.look(|core, _| core.explain(self.user)).sessions;
        let is_meant = |it: u8| self.client_type == 0 || it == self.client_type;
        sessions.retain(|it| is_meant(it.client_type.number));
        sessions
    }

    fn order(&self, publisher: &Publisher, client_type: u8) -> Result<Order, Refusal> {
        let request = PublishRequest {
            event: Some(Event {
                body: Some(event::Body::Kick(Kick {
                    user_id: self.user.0,
                    client_type: client_type.into(),
                    reason: self.kick_reason,
                })),
                ..Event::default()
            }),
            ..PublishRequest::default()
        };
        publisher.order(request, None)
    }
}

/// The client types of as many kicks as are needed: of each type, as many as one link has logins.
fn kicks(sessions: &[ExplainedSession]) -> Vec<u8> {
    let mut most = BTreeMap::new();
    for session in sessions {
        let logins = (session.online + session.away + session.hidden) as usize;
        let most: &mut usize = most.entry(session.client_type.number).or_default();
        *most = logins.max(*most);
    }
    let kicks = most
        .iter()
        .flat_map(|(it, logins)| std::iter::repeat_n(*it, *logins));
    kicks.take(MOST_KICKS).collect()
}

impl Kicked {
    /// Waits until no session is left, or the time is over.
    pub(super) async fn wait(self, node: &Node) -> KickUserResponse {
        let left = loop {
            let left = self.asked.sessions(node);
            if left.is_empty() || Instant::now() >= self.until {
                break left;
            }
            sleep(LOOK).await;
        };
        let key = |it: &ExplainedSession| (it.shown.id, it.client_type);
        let is_gone = |it: &ExplainedSession| !left.iter().any(|left| key(left) == key(it));
        let gone: Vec<_> = self.before.into_iter().filter(is_gone).collect();
        let names = node.gateway_names();
        let shown = |it| users::session(&node.clock, &names, it);
        KickUserResponse {
            gone_sessions: gone.into_iter().map(shown).collect(),
            left_sessions: left.into_iter().map(shown).collect(),
            kick_count: u32::try_from(self.kicks).unwrap_or(u32::MAX),
            node_time: Some(node.clock.timestamp(node.now())),
        }
    }
}
