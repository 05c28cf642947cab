//! A naive model of the written rules: who holds which client, who is told what, who gets which
//! PDU.
//!
//! It is written to be compared with the text, not to be fast: every question is a loop over
//! everything. The mended defects are mended here too. What is absent: roles. Every link of the
//! model is a MsgServer of its own.

pub mod server;

use std::collections::{BTreeMap, BTreeSet};

use route_proto::legacy::im::base_define::UserStat;
use route_proto::legacy::im::buddy::{ImUserStatNotify, ImUsersStatRsp};
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;

use crate::deployment::FanOut;
use crate::player::messages::{self, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::schema::{self, Body};

const ONLINE: u32 = 1;
const OFFLINE: u32 = 2;
const LEAVE: u32 = 3;
/// Set in the client types of mobiles.
const MOBILE: u32 = 0x10;

/// A link, numbered by whoever uses the model.
pub type LinkNumber = usize;

/// The state of a RouteServer.
#[derive(Debug)]
pub struct Rules {
    fan_out: FanOut,
    links: BTreeMap<LinkNumber, Link>,
}

/// A PDU that goes to a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The link that gets it.
    pub to: LinkNumber,
    /// What it gets.
    pub pdu: Pdu,
}

#[derive(Debug, Default)]
struct Link {
    /// It has ever sent 0x0708 or 0x070a.
    reported: bool,
    /// A list of it has been applied.
    listed: bool,
    /// What it last reported could not be read.
    opaque: bool,
    sessions: BTreeMap<Session, Logins>,
    /// The users that it has brought and not taken away last of all: what makes a user known.
    brought: BTreeSet<u32>,
    /// The users of whom its last report took a login away.
    taken: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    user: u32,
    client: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Logins {
    online: u32,
    /// Were online and are away.
    left: u32,
    /// Came as away.
    away: u32,
    hidden: u32,
}

/// The links that a command is for.
enum Audience {
    Holding(Vec<u32>),
    Reporters,
    Everybody,
    WithAnySession,
    WithDesktopSession,
}

impl Rules {
    /// A server without links.
    pub fn new(fan_out: FanOut) -> Self {
        Self {
            fan_out,
            links: BTreeMap::new(),
        }
    }

    /// A MsgServer has connected.
    pub fn open(&mut self, link: LinkNumber) {
        self.links.insert(link, Link::default());
    }

    /// A connection has ended: its users go along, silently.
    pub fn close(&mut self, link: LinkNumber) {
        self.links.remove(&link);
    }

    /// A MsgServer has sent a PDU: what goes to whom, in this order.
    pub fn handle(&mut self, from: LinkNumber, pdu: &Pdu) -> Vec<Delivery> {
        if !self.links.contains_key(&from) {
            return Vec::new();
        }
        let body =
            schema::of_command(pdu.command).and_then(|schema| schema.read_strictly(&pdu.body).ok());
        match (pdu.command, body) {
            (command::ONLINE_USER_LIST, body) => {
                self.report(from, body, Link::apply_list);
                self.forget_gone(from);
                Vec::new()
            }
            (command::USER_STATUS_UPDATE, body) => self.update(from, body.filter(is_update)),
            (command::USERS_STATUS_QUERY, Some(query)) => {
                let answer = self.answer(&query).sequence(pdu.sequence);
                vec![Delivery {
                    to: from,
                    pdu: answer,
                }]
            }
            (command::SIGNATURE_CHANGED, body) => self.sign_info(from, pdu, body.is_some()),
            (forwarded, Some(body)) => match audience(forwarded, &body) {
                Some(audience) => self.deliver(pdu, &audience, Some(from)),
                None => Vec::new(),
            },
            (forwarded, None) if is_forwarded(forwarded) => {
                self.deliver(pdu, &Audience::Everybody, Some(from))
            }
            _ => Vec::new(),
        }
    }

    fn update(&mut self, from: LinkNumber, body: Option<Body>) -> Vec<Delivery> {
        let Some(update) = body else {
            self.report(from, None, Link::apply_update);
            return Vec::new();
        };
        let (session, status) = session_and_status(&update, "user_status");
        let user = session.user;
        let is_unseen = self.fan_out == FanOut::Directed
            && status == OFFLINE
            && self.links[&from].holds_hidden_only(&session);
        self.report(from, Some(update), Link::apply_update);
        self.forget_gone(from);
        if is_unseen {
            // A hidden login never causes a notice, its end neither.
            return Vec::new();
        }

        let is_desktop = session.is_desktop();
        let is_offline = status == OFFLINE;
        let desktop_is_on = self.is_online(user);
        let login = if !self.is_known(user) {
            None
        } else if is_offline {
            (is_desktop && !desktop_is_on).then_some(false)
        } else {
            desktop_is_on.then_some(true)
        };
        let mut deliveries = Vec::new();
        if let Some(on) = login {
            let notice = login_notice(user, on);
            deliveries.extend(self.deliver(&notice, &Audience::Holding(vec![user]), None));
        }
        if is_desktop && !(is_offline && desktop_is_on) {
            let notice = status_notice(user, status);
            deliveries.extend(self.deliver(&notice, &Audience::WithDesktopSession, None));
        }
        deliveries
    }

    /// The one command that also goes to its sender; in directed mode only if it could be read.
    fn sign_info(&self, from: LinkNumber, pdu: &Pdu, readable: bool) -> Vec<Delivery> {
        match self.fan_out {
            FanOut::Directed if !readable => self.deliver(pdu, &Audience::Everybody, Some(from)),
            FanOut::Directed | FanOut::Broadcast => {
                self.deliver(pdu, &Audience::WithAnySession, None)
            }
        }
    }

    fn answer(&self, query: &Body) -> Pdu {
        let status = |user| {
            if self.is_online(user) {
                ONLINE
            } else {
                OFFLINE
            }
        };
        let entry = |user_id| UserStat {
            user_id,
            status: status(user_id) as i32,
        };
        let answer = ImUsersStatRsp {
            user_id: query.number("user_id").unwrap_or_default(),
            user_stat_list: query
                .numbers("user_id_list")
                .into_iter()
                .map(entry)
                .collect(),
            attach_data: Some(
                query
                    .bytes("attach_data")
                    .unwrap_or_default()
                    .to_vec()
                    .into(),
            ),
        };
        messages::encoded(command::USERS_STATUS_ANSWER, &answer)
    }

    fn deliver(&self, pdu: &Pdu, audience: &Audience, but: Option<LinkNumber>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (number, link) in &self.links {
            let is_meant = self.fan_out == FanOut::Broadcast || link.is_in(audience);
            if is_meant && Some(*number) != but {
                deliveries.push(Delivery {
                    to: *number,
                    pdu: pdu.clone(),
                });
            }
        }
        deliveries
    }

    /// A list or an update has come from a link; without a body, one that had to be dropped.
    fn report(&mut self, from: LinkNumber, body: Option<Body>, apply: fn(&mut Link, &Body)) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        link.reported = true;
        match body {
            Some(body) => apply(link, &body),
            None => link.opaque = true,
        }
    }

    /// A desktop login of the user is on: what a query answers.
    pub fn is_online(&self, user: u32) -> bool {
        self.logins_of(user)
            .any(|(session, logins)| session.is_desktop() && logins.visible() > 0)
    }

    /// What services are shown of the user.
    pub fn shown(&self, user: u32) -> Status {
        let any = |of: fn(&Logins) -> u32| self.logins_of(user).any(|(_, logins)| of(logins) > 0);
        if any(|logins| logins.online) {
            Status::Online
        } else if any(Logins::visible) {
            Status::Leave
        } else {
            Status::Offline
        }
    }

    /// How many clients of the user can be seen, each counted once for each link.
    pub fn sessions(&self, user: u32) -> usize {
        let logins = self.logins_of(user);
        logins.filter(|(_, logins)| logins.visible() > 0).count()
    }

    /// Broadcast, as in C++: some link has brought the user and has not closed, nor taken the
    /// user's last login of all away. Directed: somebody has a login of the user, for else there is
    /// nobody to tell.
    fn is_known(&self, user: u32) -> bool {
        match self.fan_out {
            FanOut::Broadcast => self.links.values().any(|link| link.brought.contains(&user)),
            FanOut::Directed => self.sessions(user) > 0,
        }
    }

    /// A user whose last login of all a link has just taken away is no longer known for that link's
    /// sake.
    fn forget_gone(&mut self, from: LinkNumber) {
        let is_gone = |user: &u32| {
            self.logins_of(*user)
                .all(|(_, logins)| logins.visible() == 0)
        };
        let gone: Vec<u32> = (self.links.get(&from).into_iter())
            .flat_map(|link| &link.taken)
            .copied()
            .filter(is_gone)
            .collect();
        if let Some(link) = self.links.get_mut(&from) {
            link.taken.clear();
            link.brought.retain(|user| !gone.contains(user));
        }
    }

    fn logins_of(&self, user: u32) -> impl Iterator<Item = (&Session, &Logins)> {
        self.links
            .values()
            .flat_map(|link| &link.sessions)
            .filter(move |(session, _)| session.user == user)
    }
}

impl Link {
    fn apply_list(&mut self, list: &Body) {
        for entry in list.messages("user_stat_list") {
            let (session, status) = session_and_status(entry, "status");
            if status == OFFLINE && self.listed {
                self.apply(session, status);
                continue;
            }
            let logins = self.sessions.entry(session).or_default();
            match status {
                OFFLINE => logins.hidden += 1,
                LEAVE => logins.away += 1,
                _ => logins.online += 1,
            }
            if status != OFFLINE {
                self.brought.insert(session.user);
            }
        }
        self.listed = true;
        self.opaque = false;
    }

    fn apply_update(&mut self, update: &Body) {
        let (session, status) = session_and_status(update, "user_status");
        self.apply(session, status);
    }

    fn apply(&mut self, session: Session, status: u32) {
        if status == OFFLINE {
            self.taken.push(session.user);
        } else {
            self.brought.insert(session.user);
        }
        let logins = self.sessions.entry(session).or_default();
        match status {
            OFFLINE => logins.take_one_away(),
            LEAVE => logins.leave(),
            _ => logins.come(),
        }
        if *logins == Logins::default() {
            self.sessions.remove(&session);
        }
    }

    fn holds_hidden_only(&self, session: &Session) -> bool {
        let logins = self.sessions.get(session);
        logins.is_some_and(|logins| logins.visible() == 0)
    }

    fn is_in(&self, audience: &Audience) -> bool {
        let any = |wanted: &dyn Fn(&Session) -> bool| self.sessions.keys().any(wanted);
        self.opaque
            || match audience {
                Audience::Holding(users) => any(&|session| users.contains(&session.user)),
                Audience::Reporters => self.reported,
                Audience::Everybody => true,
                Audience::WithAnySession => any(&|_| true),
                Audience::WithDesktopSession => any(&Session::is_desktop),
            }
    }
}

impl Logins {
    fn visible(&self) -> u32 {
        self.online + self.left + self.away
    }

    /// One that had left is back, or one that came as away is, or one more has come.
    fn come(&mut self) {
        if self.left > 0 {
            self.left -= 1;
        } else {
            self.away = self.away.saturating_sub(1);
        }
        self.online += 1;
    }

    /// One that is online leaves. If none is, those that seemed to have left were all logins of
    /// their own.
    fn leave(&mut self) {
        if self.online > 0 {
            self.online -= 1;
            self.left += 1;
        } else {
            self.away += self.left + 1;
            self.online = std::mem::take(&mut self.left);
        }
    }

    fn take_one_away(&mut self) {
        for count in [
            &mut self.left,
            &mut self.away,
            &mut self.online,
            &mut self.hidden,
        ] {
            if *count > 0 {
                *count -= 1;
                return;
            }
        }
    }
}

impl Session {
    fn is_desktop(&self) -> bool {
        self.client & MOBILE == 0
    }
}

/// Whether an update says something: any number from a mobile counts as a login, from a desktop
/// only 1 to 3.
fn is_update(update: &Body) -> bool {
    let (session, status) = session_and_status(update, "user_status");
    !session.is_desktop() || [ONLINE, OFFLINE, LEAVE].contains(&status)
}

fn session_and_status(entry: &Body, status: &str) -> (Session, u32) {
    let number = |name| entry.number(name).unwrap_or_default();
    let session = Session {
        user: number("user_id"),
        client: number("client_type"),
    };
    (session, number(status))
}

/// 0x070e.
pub fn login_notice(user_id: u32, on: bool) -> Pdu {
    let notice = ImServerPcLoginStatusNotify {
        user_id,
        login_status: on.into(),
    };
    messages::encoded(command::DESKTOP_LOGIN_NOTICE, &notice)
}

/// 0x0203.
pub fn status_notice(user_id: u32, status: u32) -> Pdu {
    let user_stat = UserStat {
        user_id,
        status: status as i32,
    };
    messages::encoded(command::STATUS_NOTICE, &ImUserStatNotify { user_stat })
}

fn is_forwarded(command: u16) -> bool {
    [
        command::MESSAGE,
        command::P2P_COMMAND,
        command::READ_RECEIPT,
        command::CONVERSATION_REMOVED,
        command::KICK_USER,
        command::GROUP_CHANGED,
        command::FILE_NOTICE,
    ]
    .contains(&command)
}

/// Whom a forwarded command is for; `None` if it is not forwarded.
fn audience(command: u16, body: &Body) -> Option<Audience> {
    /// Set in the types of a group's messages.
    const GROUP: u32 = 0x10;
    let users = |names: &[&str]| {
        let users = names.iter().flat_map(|name| body.numbers(name)).collect();
        Audience::Holding(users)
    };
    let audience = match command {
        command::MESSAGE if body.number("msg_type").unwrap_or_default() & GROUP != 0 => {
            Audience::Reporters
        }
        command::MESSAGE => users(&["from_user_id", "to_session_id"]),
        command::P2P_COMMAND => users(&["from_user_id", "to_user_id"]),
        command::READ_RECEIPT | command::CONVERSATION_REMOVED => users(&["user_id"]),
        command::KICK_USER => Audience::Everybody,
        command::GROUP_CHANGED => users(&["cur_user_id_list", "chg_user_id_list"]),
        command::FILE_NOTICE => users(&["to_user_id"]),
        _ => return None,
    };
    Some(audience)
}
