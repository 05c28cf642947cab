//! Why a user is what he is, for people who ask.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{ClientType, UserId};
use crate::presence::Held;
use crate::report::{LinkPart, LinkReport, Reporter};
use crate::status::{LearnedBy, LinkView, Summary};

/// Links that are shown because they could hide somebody.
const MOST_UNCERTAIN: usize = 16;

/// Links that are looked at to find them.
const MOST_LOOKED_AT: usize = 16_384;

/// A user, and what makes him that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What he is.
    pub summary: Summary,
    /// Why his legacy status is what it is.
    pub legacy: LegacyReason,
    /// What links hold of him, newest first.
    pub sessions: Vec<ExplainedSession>,
}

/// A user's clients of one type on one link, whether they count or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainedSession {
    /// The link as it is shown.
    pub shown: Arc<LinkView>,
    /// It; none if it has ended, and its sessions are about to go.
    pub link: Option<LinkReport>,
    /// Which client type.
    pub client_type: ClientType,
    /// Logins that are active.
    pub online: u32,
    /// Logins that are away.
    pub away: u32,
    /// Hidden logins.
    pub hidden: u32,
    /// How the node has learned of them.
    pub learned_by: LearnedBy,
    /// When: whole seconds since the node started.
    pub since: Duration,
    /// What it counts for.
    pub standing: SessionStanding,
}

/// What a session counts for, and why not for more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionStanding {
    /// For both statuses.
    Counts,
    /// For the status of all clients only: it is a mobile one.
    Mobile,
    /// For none: no login of it is visible.
    Hidden,
    /// For none: another link stands for its MsgServer.
    Shadow,
    /// For none: its link waits.
    Waiting,
    /// For none yet: its link has just begun to stand, and its users follow.
    Following,
}

/// Why a legacy status is what it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LegacyReason {
    /// Online: a desktop client counts.
    Desktop,
    /// Offline: no link holds anything of the user.
    NoSession,
    /// Offline: all clients that count are mobile ones.
    MobileOnly,
    /// Offline: all logins are hidden.
    HiddenOnly,
    /// Offline: what would count is on links that do not stand, or do not stand yet.
    NotStanding,
}

impl ExplainedSession {
    fn new(held: Held, reporter: Reporter<'_>) -> Self {
        let link = reporter.report(held.slot);
        let part = link.as_ref().map(|link| link.part);
        let is_visible = held.logins.visible() > 0;
        let standing = match (is_visible, held.seen, part) {
            (false, _, _) => SessionStanding::Hidden,
            (true, true, _) if held.client_type.mobile => SessionStanding::Mobile,
            (true, true, _) => SessionStanding::Counts,
            (true, false, Some(LinkPart::Shadow)) => SessionStanding::Shadow,
            (true, false, Some(LinkPart::Waiting)) => SessionStanding::Waiting,
            (true, false, Some(LinkPart::Active | LinkPart::Seat) | None) => {
                SessionStanding::Following
            }
        };
        Self {
            shown: held.link,
            link,
            client_type: held.client_type,
            online: held.logins.online.into(),
            away: held.logins.absent(),
            hidden: held.logins.hidden.into(),
            learned_by: held.learned_by,
            since: Duration::from_secs(held.since_seconds.into()),
            standing,
        }
    }
}

impl Reporter<'_> {
    /// Why a user is what he is.
    pub(crate) fn explain(self, user: UserId) -> Explanation {
        let summary = self.presence.sessions.summary(user);
        let held = self.presence.sessions.all_of(user);
        let sessions: Vec<_> = held.map(|it| ExplainedSession::new(it, self)).collect();
        Explanation {
            summary,
            legacy: legacy_reason(summary, &sessions),
            sessions,
        }
    }

    /// Links that may have users of whom nothing is known, at most 16, of those that were looked at.
    pub(crate) fn uncertain(self) -> Vec<LinkReport> {
        let links = &self.presence.links;
        let looked_at = links.active().take(MOST_LOOKED_AT);
        let uncertain = looked_at.filter(|slot| links.is_uncertain(*slot));
        let reports = uncertain.filter_map(|slot| self.report(slot));
        reports.take(MOST_UNCERTAIN).collect()
    }
}

fn legacy_reason(summary: Summary, sessions: &[ExplainedSession]) -> LegacyReason {
    let is_hidden = |it: &ExplainedSession| it.standing == SessionStanding::Hidden;
    let is_desktop = |it: &ExplainedSession| it.client_type.is_desktop();
    if summary.legacy_online {
        LegacyReason::Desktop
    } else if sessions.is_empty() {
        LegacyReason::NoSession
    } else if sessions.iter().any(|it| is_desktop(it) && !is_hidden(it)) {
        LegacyReason::NotStanding
    } else if summary.mobile {
        LegacyReason::MobileOnly
    } else if sessions.iter().all(is_hidden) {
        LegacyReason::HiddenOnly
    } else {
        LegacyReason::NotStanding
    }
}
