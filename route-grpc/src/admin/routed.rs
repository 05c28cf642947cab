//! Where envelopes went that were routed lately.

use std::time::Duration;

use hashbrown::HashMap;
use route_core::LinkId;
use route_dialect::Command;
use route_proto::admin::v1alpha1::{
    ListRoutedEnvelopesRequest, ListRoutedEnvelopesResponse, RoutedEnvelope, RoutedOutcome,
    RoutedTarget,
};

use super::envelope::{Wanted, spared_reason, wanted};
use super::links::link_id;
use super::{MAX_PAGE, USUAL_PAGE};
use crate::limits::{number, page_size};
use crate::node::Node;
use crate::node::routed::{Block, LostLater, NamedLink, Noted, Outcome};
use crate::refusal::{Mistakes, Refusal};

/// Envelopes that are looked at for one page: those that the filters leave out cost, too.
const MOST_LOOKED_AT: usize = 16_384;

/// A page of envelopes.
pub(super) fn list(
    node: &Node,
    request: &ListRoutedEnvelopesRequest,
) -> Result<ListRoutedEnvelopesResponse, Refusal> {
    let now = node.now();
    let mut mistakes = Mistakes::default();
    let filters = mistakes.note(Filters::new(request, now));
    let size = mistakes.note(page_size(request.page_size, USUAL_PAGE, MAX_PAGE));
    let before = mistakes.end_with(match request.page_token.as_str() {
        "" => Ok(u64::MAX),
        token => number(token, "page_token"),
    })?;
    let (filters, size) = (filters.unwrap_or_default(), size.unwrap_or(USUAL_PAGE));
    let (envelopes, next) = look(node, &filters, before, size);
    let since = node.routed.since();
    Ok(ListRoutedEnvelopesResponse {
        envelopes,
        next_page_token: next.map_or_else(String::new, |last| last.to_string()),
        remembers_since: since.map(|at| node.clock.timestamp(at)),
        node_time: Some(node.clock.timestamp(now)),
    })
}

/// Those that pass, newest first, and the position of the last one that was looked at, if there are older ones.
fn look(
    node: &Node,
    filters: &Filters,
    mut before: u64,
    size: usize,
) -> (Vec<RoutedEnvelope>, Option<u64>) {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let late = node.routed.late().by_link();
    while let Some(block) = node.routed.before(before) {
        for noted in block.before(before) {
            if noted.at() < filters.since {
                return (found, None);
            }
            if found.len() == size || looked_at == MOST_LOOKED_AT {
                return (found, Some(before));
            }
            looked_at += 1;
            before = noted.position;
            if filters.pass(&block, noted, &late) {
                found.push(shown(node, &block, noted, &late));
            }
        }
    }
    (found, None)
}

/// Which are to be shown.
#[derive(Debug, Default)]
struct Filters<'a> {
    /// 0: any.
    user: u32,
    command: Option<Wanted>,
    /// Empty: any.
    msg_server: &'a str,
    link: Option<LinkId>,
    only_dropped: bool,
    /// Since the node started.
    since: Duration,
}

impl<'a> Filters<'a> {
    fn new(request: &'a ListRoutedEnvelopesRequest, now: Duration) -> Result<Self, Refusal> {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let mut mistakes = Mistakes::default();
        let command = some(&request.command).map(wanted).transpose();
        let command = mistakes.note(command).flatten();
        let link = some(&request.link).map(|text| link_id(text, "link"));
        let link = mistakes.note(link.transpose()).flatten();
        let negative = |_| Refusal::field("max_age", "is negative");
        let max_age = request.max_age.map(Duration::try_from).transpose();
        let max_age = mistakes.end_with(max_age.map_err(negative))?;
        Ok(Self {
            user: request.user_id,
            command,
            msg_server: &request.msg_server,
            link,
            only_dropped: request.only_dropped,
            since: now.saturating_sub(max_age.unwrap_or(now)),
        })
    }

    fn pass(&self, block: &Block, noted: &Noted, late: &LateLosses) -> bool {
        let receiver = (!noted.of_group).then_some(noted.receiver);
        let is_of_user = self.user == 0 || noted.sender == self.user || receiver == Some(self.user);
        let is_of_command = match self.command {
            None => true,
            Some(Wanted::Id(id)) => noted.command_id == id,
            Some(Wanted::Named(command)) => noted.command == Some(command),
        };
        let was_dropped = !self.only_dropped
            || noted.dropped > 0
            || block
                .targets(noted)
                .any(|(it, _)| lost_later(late, it, noted).is_some());
        is_of_user && is_of_command && was_dropped && self.is_at_link(block, noted)
    }

    fn is_at_link(&self, block: &Block, noted: &Noted) -> bool {
        if self.msg_server.is_empty() && self.link.is_none() {
            return true;
        }
        let is_it = |it: &NamedLink| {
            let is_of_server = self.msg_server.is_empty() || *self.msg_server == *it.msg_server;
            is_of_server && self.link.is_none_or(|link| link == it.id)
        };
        block.origin(noted).is_some_and(is_it) || block.targets(noted).any(|(it, _)| is_it(it))
    }
}

/// Of links, by id.
type LateLosses = HashMap<LinkId, LostLater>;

/// What was lost of what waited for this link, after this envelope went there.
fn lost_later<'a>(late: &'a LateLosses, link: &NamedLink, noted: &Noted) -> Option<&'a LostLater> {
    let lost = late.get(&link.id);
    lost.filter(|lost| lost.at >= noted.at() && lost.from <= noted.position)
}

fn shown(node: &Node, block: &Block, noted: &Noted, late: &LateLosses) -> RoutedEnvelope {
    let name = noted.command.map(Command::name);
    let (user, group) = match noted.of_group {
        true => (0, noted.receiver),
        false => (noted.receiver, 0),
    };
    let origin = block.origin(noted);
    let targets = block.targets(noted).map(|(it, outcome)| {
        let lost = lost_later(late, it, noted);
        RoutedTarget {
            link: it.id.to_string(),
            msg_server: it.msg_server.to_string(),
            outcome: wire(outcome).into(),
            lost_later_count: lost.map_or(0, |lost| lost.deliveries),
            lost_later_reason: lost
                .map_or_else(String::new, |lost| lost.reason.as_str().to_owned()),
        }
    });
    let nowhere = noted.nobody.map(spared_reason).unwrap_or_default();
    RoutedEnvelope {
        node_time: Some(node.clock.timestamp(noted.at())),
        command: name.map_or_else(|| format!("{:#06x}", noted.command_id), str::to_owned),
        command_id: noted.command_id.into(),
        sender_user_id: noted.sender,
        receiver_user_id: user,
        receiver_group_id: group,
        unparsed: noted.unparsed,
        origin_link: origin.map_or_else(String::new, |it| it.id.to_string()),
        origin_msg_server: origin.map_or_else(String::new, |it| it.msg_server.to_string()),
        targets: targets.collect(),
        target_count: noted.links,
        held_count: noted.held,
        dropped_count: noted.dropped,
        unknown_user_count: noted.unknown_users,
        nowhere_reason: nowhere.into(),
    }
}

fn wire(outcome: Outcome) -> RoutedOutcome {
    match outcome {
        Outcome::Queued => RoutedOutcome::Queued,
        Outcome::WaitsForGateway => RoutedOutcome::WaitsForGateway,
        Outcome::Held => RoutedOutcome::Held,
        Outcome::QueueFull => RoutedOutcome::QueueFull,
        Outcome::SeatFull => RoutedOutcome::SeatFull,
    }
}
