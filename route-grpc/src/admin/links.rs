//! Links: shown page by page, one by one, and closed.

use std::fmt::Write as _;
use std::time::Duration;

use route_core::{LinkId, LinkReport, PartReason, View};
use route_proto::admin::v1alpha1::{
    CloseLinkRequest, CloseLinkResponse, GetLinkRequest, GetLinkResponse, Link, LinkFigures,
    LinkPart, LinkPartReason, ListLinksRequest, ListLinksResponse, RelatedLink,
};

use super::{MAX_PAGE, USUAL_PAGE, closed_links};
use crate::clock::Clock;
use crate::limits::{fingerprint, page_size};
use crate::node::Node;
use crate::node::closed::Asked;
use crate::node::gateways::{Named, Names};
use crate::refusal::Refusal;

/// Steps that are taken for one page, under one lock: those that the filters leave out cost, too.
const STEPS: u64 = 16_384;

/// Others that are shown of one link.
const MAX_RELATED: usize = 64;

/// Longest reason of a call, bytes.
const MAX_REASON: usize = 200;

/// How long a gateway has to close a link: a MsgServer that does not close its side has 5 s there (`--close-timeout`).
const CLOSE_WAIT: Duration = Duration::from_secs(8);

/// Version, gateway, number and filters, in hexadecimal.
const TOKEN_LENGTH: usize = 2 + 16 + 16 + 16;

/// First byte of a token; another layout gets another number.
const VERSION: u8 = 1;

/// A page of links.
pub(super) async fn list(
    node: &Node,
    request: &ListLinksRequest,
) -> Result<ListLinksResponse, Refusal> {
    let filters = Filters::new(request)?;
    let size = page_size(request.page_size, USUAL_PAGE, MAX_PAGE)?;
    let after = filters.after(&request.page_token)?;
    let names = node.gateway_names();
    let gateway = match filters.gateway_id.as_str() {
        "" => None,
        id => match names.incarnation(id) {
            Some(incarnation) => Some(incarnation),
            None => {
                let what = "gateway with this id".to_owned();
                return Err(Refusal::NotFound { what });
            }
        },
    };
    let (now, (found, next)) =
        node.look(|core, now| (now, look(core, |it| filters.pass(it), gateway, after, size)));
    let next = next.map_or_else(String::new, |last| filters.token(last));
    let mut page = page(node, &names, now.at, found, next);
    if request.include_figures {
        add_figures(node, &mut page.links).await;
    }
    Ok(page)
}

/// Adds what gateways say of these links.
async fn add_figures(node: &Node, links: &mut [Link]) {
    let id = |link: &Link| link_id(&link.link, "link").ok();
    let ids: Vec<_> = links.iter().filter_map(id).collect();
    let figures = node.figures(&ids).await;
    for link in links {
        let figures = id(link).and_then(|id| figures.get(&id));
        link.figures = figures.map(|it| LinkFigures {
            queued_bytes: it.queued_bytes,
            stalled_duration: prost_types::Duration::try_from(it.stalled).ok(),
            unconfirmed_bytes: it.unconfirmed_bytes,
            received_pdu_count: it.received_pdus,
            received_bytes: it.received_bytes,
            sent_pdu_count: it.sent_pdus,
            sent_bytes: it.sent_bytes,
            idle_duration: prost_types::Duration::try_from(it.idle).ok(),
            is_paused: it.paused,
        });
    }
}

fn page(
    node: &Node,
    names: &Names,
    at: Duration,
    found: Vec<LinkReport>,
    next_page_token: String,
) -> ListLinksResponse {
    ListLinksResponse {
        links: found
            .into_iter()
            .map(|it| shown(&node.clock, names, it))
            .collect(),
        next_page_token,
        node_time: Some(node.clock.timestamp(at)),
    }
}

/// The first links, at most so many.
pub(super) fn first(core: View<'_>, size: usize) -> Vec<LinkReport> {
    look(core, |_| true, None, LinkId::NODE, size).0
}

/// Links that pass, and the last one that was looked at, if there may be more.
fn look(
    core: View<'_>,
    passes: impl Fn(&LinkReport) -> bool,
    gateway: Option<u64>,
    after: LinkId,
    size: usize,
) -> (Vec<LinkReport>, Option<LinkId>) {
    let (mut found, mut last) = (Vec::new(), after);
    let first = gateway.map_or(after, |gateway| after.max(LinkId::new(gateway, 0)));
    let before = core.work();
    for link in core.links_after(first) {
        if gateway.is_some_and(|it| it != link.id.gateway) {
            break;
        }
        if found.len() == size || core.work() - before > STEPS {
            return (found, Some(last));
        }
        last = link.id;
        if passes(&link) {
            found.push(link);
        }
    }
    (found, None)
}

/// Which links are to be shown.
#[derive(Debug)]
struct Filters {
    /// Empty: any.
    gateway_id: String,
    /// Empty: any.
    msg_server: String,
    /// Unspecified: any.
    part: LinkPart,
}

impl Filters {
    fn new(request: &ListLinksRequest) -> Result<Self, Refusal> {
        let part = LinkPart::try_from(request.part).ok();
        let part = part.filter(|part| *part != LinkPart::Seat);
        let part = part.ok_or_else(|| Refusal::field("part", "is no part of an open link"))?;
        Ok(Self {
            gateway_id: request.gateway_id.clone(),
            msg_server: request.msg_server.clone(),
            part,
        })
    }

    fn pass(&self, link: &LinkReport) -> bool {
        let is_of_server = self.msg_server.is_empty() || self.msg_server == link.msg_server;
        is_of_server && [LinkPart::Unspecified, part(link.part)].contains(&self.part)
    }

    /// What tells these filters from others.
    fn fingerprint(&self) -> u64 {
        let Self {
            gateway_id,
            msg_server,
            part,
        } = self;
        let texts = gateway_id.bytes().chain([0]).chain(msg_server.bytes());
        let bytes = texts.chain([0, *part as u8]);
        bytes.fold(0, |sum, byte| fingerprint(sum ^ u64::from(byte)))
    }

    fn token(&self, last: LinkId) -> String {
        let mut token = String::with_capacity(TOKEN_LENGTH);
        let LinkId { gateway, number } = last;
        // Writing into a String cannot fail.
        let _ = write!(
            token,
            "{VERSION:02x}{gateway:016x}{number:016x}{:016x}",
            self.fingerprint()
        );
        token
    }

    /// Behind which link the page begins.
    fn after(&self, token: &str) -> Result<LinkId, Refusal> {
        if token.is_empty() {
            return Ok(LinkId::NODE);
        }
        let number = |place| {
            let digits = token.get(place)?;
            u64::from_str_radix(digits, 16).ok()
        };
        let last = number(2..18).zip(number(18..34));
        let last = last.map(|(gateway, number)| LinkId::new(gateway, number));
        let known = last.filter(|last| self.token(*last) == token);
        let unknown =
            || Refusal::field("page_token", "not a token of ListLinks with these filters");
        known.ok_or_else(unknown)
    }
}

/// One link, and what it has to do with others.
pub(super) async fn get(node: &Node, request: &GetLinkRequest) -> Result<GetLinkResponse, Refusal> {
    let id = link_id(&request.link, "link")?;
    let names = node.gateway_names();
    let (now, found) = node.look(|core, now| {
        let found = core.link(id).map(|link| {
            let related: Vec<_> = core.relations(id).take(MAX_RELATED).collect();
            (link, related, core.predecessors(id).to_vec())
        });
        (now, found)
    });
    let node_time = Some(node.clock.timestamp(now.at));
    let gone = node.closed.find(id);
    let closed_link = gone.map(|it| closed_links::shown(&node.clock, &it));
    let Some((link, related, predecessors)) = found else {
        return match closed_link {
            None => Err(unknown(id)),
            Some(_) => Ok(GetLinkResponse {
                closed_link,
                node_time,
                ..GetLinkResponse::default()
            }),
        };
    };
    let related = related.iter().map(|it| RelatedLink {
        link: it.id.to_string(),
        part: part(it.part).into(),
        shared_session_count: it.shared,
        session_count: it.sessions,
    });
    let mut links = [shown(&node.clock, &names, link)];
    if request.include_figures {
        add_figures(node, &mut links).await;
    }
    let [link] = links;
    Ok(GetLinkResponse {
        link: Some(link),
        related_links: related.collect(),
        predecessors: predecessors.iter().map(LinkId::to_string).collect(),
        node_time,
        closed_link,
    })
}

/// Has a link closed by its gateway. Returns which.
pub(super) fn ask_to_close(node: &Node, request: &CloseLinkRequest) -> Result<LinkId, Refusal> {
    let id = link_id(&request.link, "link")?;
    check_reason(&request.reason)?;
    let asked = Asked::Operator {
        reason: request.reason.clone(),
    };
    match node.close_link(id, asked) {
        true => Ok(id),
        false => Err(unknown(id)),
    }
}

/// Waits until the link has ended.
pub(super) async fn closed(node: &Node, id: LinkId) -> Result<CloseLinkResponse, Refusal> {
    if !node.link_closes(id, CLOSE_WAIT).await {
        return Err(Refusal::DeadlinePassed);
    }
    let node_time = Some(node.clock.timestamp(node.now()));
    Ok(CloseLinkResponse { node_time })
}

/// Refuses a reason that is too long for a log line.
pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > MAX_REASON {
        let problem = format!("{} bytes, at most {MAX_REASON} are allowed", reason.len());
        return Err(Refusal::field("reason", problem));
    }
    Ok(())
}

/// Reads the id of a link.
pub(super) fn link_id(text: &str, field: &'static str) -> Result<LinkId, Refusal> {
    let parts = text.split_once('-');
    let read = parts.and_then(|(gateway, number)| {
        let gateway = u64::from_str_radix(gateway, 16).ok()?;
        Some(LinkId::new(gateway, number.parse().ok()?))
    });
    let problem = || Refusal::field(field, "not \"<gateway incarnation in hex>-<number>\"");
    read.filter(|it| it.to_string() == text).ok_or_else(problem)
}

pub(super) fn unknown(id: LinkId) -> Refusal {
    Refusal::NotFound {
        what: format!("link {id}"),
    }
}

/// A link as the API says it.
pub(super) fn shown(clock: &Clock, names: &Names, link: LinkReport) -> Link {
    let Named {
        gateway_id,
        dialect,
    } = names.of(link.id.gateway);
    Link {
        link: link.id.to_string(),
        msg_server: link.msg_server,
        is_named: link.is_named,
        peer: link.peer.to_string(),
        gateway_id,
        part: part(link.part).into(),
        part_reason: reason(link.reason).into(),
        other_link: link
            .other
            .map_or_else(String::new, |other| other.to_string()),
        is_claimed: link.is_claimed,
        is_listed: link.is_listed,
        is_opaque: link.is_opaque,
        is_silent: link.is_silent,
        is_detached: link.is_detached,
        session_count: link.sessions,
        open_time: Some(clock.timestamp_micros(link.opened_at)),
        last_entry_time: Some(clock.timestamp(link.acted)),
        dialect,
        figures: None,
    }
}

fn part(part: route_core::LinkPart) -> LinkPart {
    match part {
        route_core::LinkPart::Active => LinkPart::Active,
        route_core::LinkPart::Shadow => LinkPart::Shadow,
        route_core::LinkPart::Waiting => LinkPart::Waiting,
        route_core::LinkPart::Seat => LinkPart::Seat,
    }
}

fn reason(reason: PartReason) -> LinkPartReason {
    match reason {
        PartReason::Claimed => LinkPartReason::Claimed,
        PartReason::StandsIn => LinkPartReason::StandsIn,
        PartReason::Alone => LinkPartReason::Alone,
        PartReason::OtherClaimed => LinkPartReason::OtherClaimed,
        PartReason::OtherStands => LinkPartReason::OtherStands,
        PartReason::Crowd => LinkPartReason::Crowd,
        PartReason::Undecided => LinkPartReason::Undecided,
        PartReason::Succeeded => LinkPartReason::Succeeded,
        PartReason::StoodInFor => LinkPartReason::StoodInFor,
        PartReason::Closed => LinkPartReason::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_link_is_read_as_it_is_written() {
        let id = LinkId::new(0x18f_a0b1, 42);

        assert_eq!(link_id(&id.to_string(), "link"), Ok(id));
        for wrong in [
            "", "-", "1f", "1f-", "-2", "1F-2", "01f-2", "1f-02", "1f-2 ", "0x1f-2", "1f--2",
        ] {
            assert!(link_id(wrong, "link").is_err(), "{wrong}");
        }
    }
}
