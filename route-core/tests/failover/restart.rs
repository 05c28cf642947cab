//! The node is replaced. The new one knows nothing but what gateways repeat of their links: peers, claims with their times,
//! tables, silences, and whose place each has taken.

use std::collections::BTreeMap;
use std::time::Duration;

use route_core::{
    Change, Effect, LinkId, LinkPart, LinkReport, Peer, Restored, TableEntry, Transaction, UserId,
};

use crate::events::FIGHT;
use crate::gateway::GATEWAYS;
use crate::line::Line;
use crate::msg_server::{MOVERS, MOVING};
use crate::world::World;

impl World {
    /// When nothing is on its way, and nothing is held: what a node that crashes in the middle does, simulations of the
    /// hand-over play.
    pub(crate) fn node_restarts(&mut self) {
        self.settle();
        let view = self.core.view();
        let is_seat = |it: LinkReport| it.part == LinkPart::Seat;
        let any_seat = view.links_after(LinkId::NODE).any(is_seat);
        let holds = view.held_bytes() > 0 || any_seat;
        if holds || !self.lost.is_empty() {
            return;
        }
        let known = self.known_links();
        // One that its gateway closes just now is on its way, too.
        let is_closing = |it: &Known| {
            !self
                .lines_of(it.report.id)
                .contains_key(&it.report.id.number)
        };
        if known.iter().any(is_closing) {
            return;
        }
        self.show(|| "the node restarts".to_owned());
        self.core = self.new_core();
        let first = self.dice.roll(GATEWAYS) as u64;
        let order = |link: LinkId| (link.gateway + first) % GATEWAYS as u64;
        let mut known: Vec<(Restored, Known)> = known
            .into_iter()
            .map(|it| (self.restored(&it), it))
            .collect();
        known.sort_by_key(|(_, it)| (order(it.report.id), it.report.id));
        self.transact(|transaction, sequence| {
            for (restored, it) in &known {
                it.is_repeated(*restored, transaction, sequence);
            }
        });
        self.is_in_doubt_again();
        self.settle();
    }

    /// Who may be taken for another one and never claims may share a user with it, too: which MsgServer it is, takes a moment
    /// again. And two of one name find out again that they are two.
    fn is_in_doubt_again(&mut self) {
        let now = self.now;
        let mut unknown = Vec::new();
        for index in 0..self.servers.len() {
            let it = &self.servers[index];
            let mut others = self.servers.iter().filter(|other| other.index != index);
            let may_be_another = !it.claims && others.any(|other| other.may_be(it));
            let it = &mut self.servers[index];
            if may_be_another {
                it.came_at = now;
            }
            if it.shares_name {
                it.fights_until = now + FIGHT;
            }
            if may_be_another || it.shares_name {
                unknown.extend(it.users().chain(MOVERS..MOVERS + MOVING));
            }
        }
        for it in &mut self.servers {
            unknown.iter().for_each(|user| it.may_not_know(now, *user));
        }
    }

    /// What gateways know, which is what the node knows when nothing is on its way.
    fn known_links(&self) -> Vec<Known> {
        let view = self.core.view();
        let mut tables: BTreeMap<LinkId, Vec<TableEntry>> = BTreeMap::new();
        let users = self.servers.iter().flat_map(|it| it.users());
        for user in users.chain(MOVERS..MOVERS + MOVING) {
            for session in view.explain(UserId(user)).sessions {
                let Some(link) = session.link else {
                    continue;
                };
                tables.entry(link.id).or_default().push(TableEntry {
                    user: UserId(user),
                    client_type: session.client_type,
                    online: session.online as u16,
                    away: session.away as u16,
                    hidden: session.hidden as u16,
                });
            }
        }
        let open = view
            .links_after(LinkId::NODE)
            .filter(|it| view.is_open(it.id));
        let known = open.map(|report| Known {
            table: tables.remove(&report.id).unwrap_or_default(),
            predecessors: view.predecessors(report.id).to_vec(),
            report,
        });
        known.collect()
    }

    fn lines_of(&self, link: LinkId) -> &BTreeMap<u64, Line> {
        let mut gateways = self.gateways.iter();
        let gateway = gateways.find(|it| it.id == link.gateway);
        &gateway.expect("none is lost").lines
    }

    fn restored(&self, known: &Known) -> Restored {
        let report = &known.report;
        let line = &self.lines_of(report.id)[&report.id.number];
        let micros = |time: Duration| time.as_micros() as i64;
        Restored {
            opened_at: micros(line.opened),
            claimed_at: line.claimed.map(micros),
            reported: line.has_reported,
            listed: report.is_listed,
            opaque: report.is_opaque,
            silent: report.is_silent,
        }
    }
}

/// A link, as its gateway repeats it.
struct Known {
    report: LinkReport,
    predecessors: Vec<LinkId>,
    table: Vec<TableEntry>,
}

impl Known {
    fn is_repeated(&self, restored: Restored, transaction: &mut Transaction<'_>, sequence: u64) {
        let report = &self.report;
        let peer = Peer {
            address: report.peer,
            msg_server: report.is_named.then_some(&*report.msg_server),
        };
        let (entries, last) = (&self.table[..], true);
        let restored = Some(restored);
        let predecessors = &self.predecessors[..];
        for change in [
            Change::Opened { peer, restored },
            Change::Succeeds { predecessors },
            Change::Table { entries, last },
        ] {
            let applied = transaction.apply(report.id, sequence, change, Effect::Silent);
            applied.expect("it is opened first");
        }
    }
}
