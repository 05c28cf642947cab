//! What must be, and what must not.

use std::collections::BTreeSet;
use std::time::Duration;

use route_core::{LinkId, ReportedStatus, Status, UserId};

use crate::gateway::CLOCKS_ERR;
use crate::msg_server::{Client, MOVERS, MOVING, MsgServer};
use crate::world::World;

/// After so long, a connection, a login, is known everywhere, and whose it is.
const KNOWN_AFTER: Duration = Duration::from_secs(3);

/// So long somebody may claim the place of a connection that has ended.
pub(crate) const SEAT_HOLD: Duration = Duration::from_millis(2100);

/// The same of one whose MsgServer had no other, and was sent elsewhere.
pub(crate) const COMES_BACK: Duration = Duration::from_millis(6100);

/// So long it may be unclear whether a connection without a claim stands for its MsgServer, while
/// every gateway is here.
pub(crate) const UNCLEAR: Duration = Duration::from_secs(12);

/// What was sent.
pub(crate) struct Message {
    pub(crate) sender: usize,
    pub(crate) what: Sent,
    pub(crate) at: Duration,
    /// MsgServers that must get it, and have not.
    pub(crate) due: BTreeSet<usize>,
}

/// What was reported of a user's desktop.
pub(crate) struct Report {
    pub(crate) at: Duration,
    pub(crate) status: ReportedStatus,
    /// Its notices are routed after this.
    pub(crate) told_after: Option<u64>,
}

impl Report {
    /// A notice of this status that was routed there may be one of it: others that are told later may be older.
    fn is_told_by(&self, status: ReportedStatus, position: u64) -> bool {
        self.status == status && self.told_after.is_some_and(|after| position > after)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    ToUser(u32),
    /// To everybody who has users.
    Group,
    /// This user has logged in on a desktop.
    Kick(u32),
}

impl Message {
    pub(crate) fn users(&self) -> Vec<u32> {
        match self.what {
            Sent::ToUser(user) => vec![self.sender as u32 * 100, user],
            Sent::Group | Sent::Kick(_) => Vec::new(),
        }
    }

    /// Nobody has read it, or nobody knows that any more.
    pub(crate) fn is_lost(&mut self) {
        self.due.clear();
    }

    /// This client has logged out.
    pub(crate) fn is_no_longer_for(&mut self, server: usize, client: Client) {
        if let Sent::ToUser(user) | Sent::Kick(user) = self.what
            && user == client.user
        {
            self.due.remove(&server);
        }
    }
}

impl World {
    /// Who must get what this MsgServer sends.
    pub(crate) fn to_whom(&self, sender: usize, what: Sent) -> BTreeSet<usize> {
        let others = self.servers.iter().filter(|it| it.index != sender);
        let listen = others.filter(|it| it.kind.listens() && self.is_steady(it));
        let must = listen.filter(|it| match what {
            Sent::Group => true,
            Sent::ToUser(user) => {
                self.is_known(it, Client::new(user, false))
                    || self.is_known(it, Client::new(user, true))
            }
            Sent::Kick(user) => self.is_known(it, Client::new(user, false)),
        });
        must.map(|it| it.index).collect()
    }

    /// It has been connected for a while.
    fn is_steady(&self, it: &MsgServer) -> bool {
        let known = it.came_at + if it.claims { KNOWN_AFTER } else { UNCLEAR };
        it.is_connected() && self.now >= known && self.now >= it.fights_until
    }

    /// This client has been with it for a while, and every connection of it has told so.
    fn is_known(&self, it: &MsgServer, client: Client) -> bool {
        let unheard = self.unheard_since(it).unwrap_or(self.now);
        let login = it.clients.get(&client);
        login.is_some_and(|login| {
            let is_listed = login.since == Duration::ZERO;
            is_listed || login.since + KNOWN_AFTER <= self.now.min(unheard)
        })
    }

    /// Since when there is, or was a moment ago, a connection of it of which nothing is heard.
    fn unheard_since(&self, it: &MsgServer) -> Option<Duration> {
        let lines = self.gateways.iter().flat_map(|at| at.lines.values());
        let own = lines.filter(|line| line.server == it.index);
        let claims = self.claim_is_heard(it);
        let cut = own.filter_map(|line| line.unheard_since(claims)).min();
        let closed = it.unheard.filter(|(_, until)| self.now < *until);
        let lost = self.lost.iter().filter(|lost| {
            let mut numbers = lost.gateway.unfinished.iter();
            let owner = |number: &u64| self.owners.get(&LinkId::new(lost.gateway.id, *number));
            !claims && numbers.any(|number| owner(number) == Some(&it.index))
        });
        let lost = lost.map(|lost| lost.killed_at).min();
        [cut, closed.map(|(since, _)| since), lost]
            .into_iter()
            .flatten()
            .min()
    }

    /// It is told which of its connections stands for it.
    pub(crate) fn claim_is_heard(&self, it: &MsgServer) -> bool {
        let primary = it.primary.filter(|_| it.claims);
        let line = primary.and_then(|gateway| {
            let number = it.links[gateway]?;
            self.gateways[gateway].lines.get(&number)
        });
        line.is_some_and(|line| line.is_heard)
    }

    /// A MsgServer without a desktop client is told of nobody: what it knew may be old, and what was
    /// routed before and comes later.
    pub(crate) fn nobody_listens(&mut self) {
        for index in 0..self.servers.len() {
            let it = &self.servers[index];
            let mut desktops = it.clients.keys().filter(|client| !client.is_mobile);
            if !desktops.any(|client| self.is_known(it, *client)) {
                self.servers[index].notices.clear();
                self.servers[index].knows_from = self.routed;
            }
        }
    }

    /// A message comes to a MsgServer, by a connection that was opened then.
    pub(crate) fn receive(&mut self, server: usize, id: u32, opened: Option<Duration>) {
        let message = &mut self.sent[id as usize];
        message.due.remove(&server);
        let (sender, what, at) = (message.sender, message.what, message.at);
        let it = &mut self.servers[server];
        if !it.kind.listens() {
            return;
        }
        let times = it.messages.entry(id).or_default();
        *times += 1;
        let times = *times;
        // It may take the place of the other one of its name, and what that could not be sent.
        let fights = it.shares_name && self.now < it.fights_until;
        self.show(|| format!("s{server} gets {id} of s{sender}: {what:?}"));
        if times > 1 && !fights {
            self.fail(&format!(
                "message {id} ({what:?}) came {times} times to s{server}"
            ));
        }
        if sender == server && !fights {
            self.fail(&format!("message {id} ({what:?}) came back to s{server}"));
        }
        if let Sent::Kick(user) = what {
            let by_list = |login: Duration| opened.is_some_and(|opened| opened > login);
            self.is_kicked(server, user, at, |login| fights || by_list(login));
        }
    }

    /// Whoever is here ends, but for one who has logged in after the kick was sent, which must not come
    /// to him: both times are known, as far as clocks agree, unless the login was not heard, or only in
    /// the list of the connection by which the kick comes: that does not say since when he is there.
    /// `excused`: of a login at that time.
    fn is_kicked(
        &mut self,
        server: usize,
        user: u32,
        sent: Duration,
        excused: impl Fn(Duration) -> bool,
    ) {
        let client = Client::new(user, false);
        let it = &self.servers[server];
        let Some(login) = it.clients.get(&client) else {
            return;
        };
        let unheard = self.unheard_since(it);
        let is_heard = unheard.is_none_or(|since| login.since < since);
        if login.since > sent + CLOCKS_ERR && is_heard && !excused(login.since) {
            let since = login.since;
            self.fail(&format!(
                "the login of {user} at s{server}, of {since:?}, is kicked by one of {sent:?}"
            ));
        }
        self.logs_out(server, client);
    }

    /// A notice comes to a MsgServer. Who is at one MsgServer only goes on and off by turns.
    pub(crate) fn is_told(
        &mut self,
        server: usize,
        user: u32,
        status: ReportedStatus,
        position: u64,
    ) {
        self.show(|| format!("s{server} is told {status:?} of {user}"));
        if position <= self.servers[server].knows_from {
            return;
        }
        let home = self.servers.get(user as usize / 100);
        if home.is_some_and(|home| home.shares_name && self.now < home.fights_until) {
            return self.servers[server].may_not_know(self.now, user);
        }
        let it = &mut self.servers[server];
        if let Some(since) = it.untold.get(&user) {
            let report = self.reported.get(&user);
            if !report.is_some_and(|it| it.at > *since && it.is_told_by(status, position)) {
                return;
            }
            it.untold.remove(&user);
        }
        let told = it.notices.entry(user).or_default();
        // What could not be sent to the other one of its name may come to it.
        let fights = it.shares_name && self.now < it.fights_until;
        let is_repeated = user < MOVERS && told.last() == Some(&status) && !fights;
        told.push(status);
        if is_repeated && self.servers[server].kind.listens() {
            self.fail(&format!("s{server} is told again {status:?} of {user}"));
        }
    }

    /// `is_found`: every connection that is dead is known to be, if another one of its MsgServer lives.
    pub(crate) fn check_presence(&self, is_found: bool) {
        let is_sure = |it: &&MsgServer| !self.is_in_doubt(it, is_found);
        for it in self.servers.iter().filter(is_sure) {
            it.users().for_each(|user| self.check_user(user));
        }
        if self.servers.iter().all(|it| is_sure(&it)) {
            (MOVERS..MOVERS + MOVING).for_each(|user| self.check_user(user));
        }
    }

    fn check_user(&self, user: u32) {
        let is_here = |it: &&MsgServer| it.is_connected();
        let mut here = self.servers.iter().filter(is_here);
        let desktop = here.clone().any(|it| it.shows(user, false));
        let any = desktop || here.any(|it| it.shows(user, true));
        let summary = self.core.view().summary(UserId(user));
        let is_online = summary.status == Status::Online;
        if summary.legacy_online != desktop || is_online != any {
            self.fail(&format!(
                "{user} is {summary:?}, and has a desktop: {desktop}, any client: {any}"
            ));
        }
    }

    /// A connection of it is dead, and nobody may know; or it cannot be told yet whose one is.
    fn is_in_doubt(&self, it: &MsgServer, is_found: bool) -> bool {
        let lines = self.gateways.iter().flat_map(|at| at.lines.values());
        let is_heard = lines
            .into_iter()
            .any(|line| line.server == it.index && line.is_whole());
        let is_dead = self.has_dead(it) && !(is_found && is_heard);
        let any_lost = |since| !self.lost.is_empty() || self.now < self.gave_up_at + since;
        // A neighbour's connection may be its own, or one that the node does not know.
        let has_left = !it.is_connected() || self.now < it.ended_at + UNCLEAR;
        let may_be_elsewhere = has_left && self.has_dead_neighbours(it);
        let may_be_unknown = self.now < it.held_until;
        let changed_at = it.ended_at.max(it.came_at);
        let is_unclear = !it.claims && (self.now < changed_at + UNCLEAR || any_lost(UNCLEAR));
        let fights = it.shares_name && self.now < it.fights_until;
        is_dead || may_be_elsewhere || may_be_unknown || is_unclear || fights
    }

    /// A connection of it is dead, and somebody may not know, or hold its place.
    pub(crate) fn has_dead(&self, it: &MsgServer) -> bool {
        let lost = self.lost.iter().any(|lost| {
            let numbers = lost.gateway.unfinished.iter();
            let mut links = numbers.map(|number| LinkId::new(lost.gateway.id, *number));
            links.any(|link| self.owners.get(&link) == Some(&it.index))
        });
        let all = self.gateways.iter().flat_map(|at| at.lines.values());
        let mut own = all.filter(|line| line.server == it.index);
        let is_held = self.now < it.ended_at + SEAT_HOLD;
        lost || is_held || own.any(|line| !line.is_whole())
    }

    /// A connection from its address may be dead, and may be its own.
    pub(crate) fn has_dead_neighbours(&self, it: &MsgServer) -> bool {
        let lines = self.gateways.iter().flat_map(|at| at.lines.values());
        let mut dead = lines.filter(|line| !line.is_whole());
        dead.any(|line| self.servers[line.server].may_be(it))
    }

    pub(crate) fn check_in_the_end(&self) {
        for (id, message) in self.sent.iter().enumerate() {
            if let Some(server) = message.due.first() {
                let Message { what, at, .. } = message;
                self.fail(&format!(
                    "message {id} ({what:?}) of {at:?} is lost for s{server}"
                ));
            }
        }
        self.check_presence(true);
        self.check_notices();
    }

    /// What was said last is true.
    fn check_notices(&self) {
        // What is lost in a fight for a name, nobody knows.
        let judged = |it: &&MsgServer| it.kind.listens() && !it.shares_name;
        let listening = self.servers.iter().filter(judged);
        for it in listening.filter(|it| it.is_connected()) {
            let told = it.notices.iter();
            for (user, statuses) in told.filter(|(user, _)| !it.untold.contains_key(user)) {
                let said = statuses.last() == Some(&ReportedStatus::Online);
                let mut here = self.servers.iter().filter(|it| it.is_connected());
                let is_true = here.any(|it| it.shows(*user, false));
                if said != is_true {
                    let index = it.index;
                    self.fail(&format!("s{index} was last told {statuses:?} of {user}"));
                }
            }
        }
    }
}
