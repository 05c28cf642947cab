//! Users that are not offline, page by page, in the order of their ids.

use prost::Message;
use route_core::{Summary, UserId, View};
use route_proto::v1::{
    ClientClass, ListOnlineUsersRequest, ListOnlineUsersResponse, PresenceStatus,
};
use std::fmt::Write as _;

use crate::api::at_least::AtLeast;
use crate::api::status::{Seen, status};
use crate::limits::{MAX_PAGE, fingerprint, page_size};
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

/// Users in a page, unless the request says otherwise.
const USUAL_PAGE: usize = 1000;

/// A page ends behind the user with whom it has so many bytes.
const PAGE_BYTES: usize = 1 << 20;

/// Steps that are taken for one page, under one lock: those whom the filters leave out cost, too. A user is one, and
/// one more for each session, each time that they are looked at.
const STEPS: u64 = 50_000;

/// Version, user id and filters, in hexadecimal.
const TOKEN_LENGTH: usize = 2 + 8 + 16;

/// First byte of a token; another layout gets another number.
const VERSION: u8 = 1;

/// One page that is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    after: Option<UserId>,
    size: usize,
    filters: Filters,
    sessions: bool,
    pub(crate) at_least: AtLeast,
}

/// Whom it is to show.
#[derive(Debug)]
struct Filters {
    /// None: either.
    status: Option<PresenceStatus>,
    /// None: either.
    class: Option<ClientClass>,
    /// Empty: any.
    msg_server: String,
}

impl Asked {
    /// What a request asks for.
    pub(crate) fn new(request: ListOnlineUsersRequest) -> Result<Self, Refusal> {
        let mut mistakes = Mistakes::default();
        let size = mistakes.note(page_size(request.page_size, USUAL_PAGE, MAX_PAGE));
        let at_least = mistakes.note(AtLeast::new(&request.at_least_position));
        let filters = Filters {
            status: mistakes.note(wanted(request.status)).flatten(),
            class: mistakes.note(class(request.client_class)).flatten(),
            msg_server: request.msg_server,
        };
        let after = mistakes.end_with(filters.after(&request.page_token))?;
        Ok(Self {
            after,
            size: size.unwrap_or_default(),
            filters,
            sessions: request.include_sessions,
            at_least: at_least.unwrap_or_default(),
        })
    }

    /// The page as of now.
    pub(crate) fn page(&self, node: &Node) -> ListOnlineUsersResponse {
        let (now, seen, mut next) = node.look(|core, now| {
            let (seen, next) = self.look(core);
            (now, seen, next)
        });
        let (mut users, mut bytes) = (Vec::with_capacity(seen.len()), 0);
        let last = seen.last().map(|it| it.user);
        for it in seen {
            let shown = it.shown(&node.clock);
            bytes += shown.encoded_len();
            users.push(shown);
            if bytes >= PAGE_BYTES && Some(it.user) != last {
                next = Some(it.user);
                break;
            }
        }
        ListOnlineUsersResponse {
            users,
            next_page_token: next.map_or_else(String::new, |user| self.filters.token(user)),
            position: node.position(now.seq).token(),
            node_time: Some(node.clock.timestamp(now.at)),
        }
    }

    /// Those who are to be shown, and behind whom to go on, if there are more.
    fn look(&self, core: View<'_>) -> (Vec<Seen>, Option<UserId>) {
        let mut seen = Vec::new();
        let mut last = None;
        let before = core.work();
        for user in core.online_after(self.after) {
            if seen.len() == self.size || core.work() - before > STEPS {
                return (seen, last);
            }
            last = Some(user);
            let summary = core.summary(user);
            if self.filters.pass(core, user, summary) {
                seen.push(Seen::with(core, user, summary, self.sessions));
            }
        }
        (seen, None)
    }
}

fn wanted(number: i32) -> Result<Option<PresenceStatus>, Refusal> {
    match PresenceStatus::try_from(number) {
        Ok(PresenceStatus::Unspecified) => Ok(None),
        Ok(status @ (PresenceStatus::Online | PresenceStatus::Away)) => Ok(Some(status)),
        Ok(PresenceStatus::Offline) | Err(_) => {
            let problem = "only ONLINE and AWAY users are listed";
            Err(Refusal::field("status", problem))
        }
    }
}

fn class(number: i32) -> Result<Option<ClientClass>, Refusal> {
    match ClientClass::try_from(number) {
        Ok(ClientClass::Unspecified) => Ok(None),
        Ok(class @ (ClientClass::Desktop | ClientClass::Mobile)) => Ok(Some(class)),
        Err(_) => Err(Refusal::field("client_class", "is not known")),
    }
}

impl Filters {
    fn pass(&self, core: View<'_>, user: UserId, summary: Summary) -> bool {
        if self.status.is_some_and(|wanted| wanted != status(summary)) {
            return false;
        }
        let is_of_class = match self.class {
            Some(ClientClass::Desktop) => summary.legacy_online,
            Some(ClientClass::Mobile) => summary.mobile,
            Some(ClientClass::Unspecified) | None => true,
        };
        is_of_class && (self.msg_server.is_empty() || self.is_there(core, user))
    }

    /// The user has a client of the class on the MsgServer.
    fn is_there(&self, core: View<'_>, user: UserId) -> bool {
        core.sessions_of(user).any(|session| {
            let mobile = session.client_type.mobile;
            let of_class = self
                .class
                .is_none_or(|it| mobile == (it == ClientClass::Mobile));
            of_class && session.link.msg_server == self.msg_server
        })
    }

    /// What tells these filters from others.
    fn fingerprint(&self) -> u64 {
        let Self {
            status,
            class,
            msg_server,
        } = self;
        let [status, class] = [
            status.map_or(0, |it| it as u8),
            class.map_or(0, |it| it as u8),
        ];
        let bytes = [status, class].into_iter().chain(msg_server.bytes());
        bytes.fold(0, |sum, byte| fingerprint(sum ^ u64::from(byte)))
    }

    fn token(&self, user: UserId) -> String {
        let mut token = String::with_capacity(TOKEN_LENGTH);
        // Writing into a String cannot fail.
        let _ = write!(
            token,
            "{VERSION:02x}{:08x}{:016x}",
            user.0,
            self.fingerprint()
        );
        token
    }

    /// Behind whom the page begins.
    fn after(&self, token: &str) -> Result<Option<UserId>, Refusal> {
        const FIELD: &str = "page_token";
        if token.is_empty() {
            return Ok(None);
        }
        let user = token
            .get(2..10)
            .and_then(|id| u32::from_str_radix(id, 16).ok());
        let unknown = || Refusal::field(FIELD, "not a token that ListOnlineUsers gave out");
        let user = UserId(user.ok_or_else(unknown)?);
        let expected = self.token(user);
        match token == expected {
            true => Ok(Some(user)),
            false if token.len() == TOKEN_LENGTH && token.starts_with(&expected[..10]) => {
                Err(Refusal::field(FIELD, "is of a list with other filters"))
            }
            false => Err(unknown()),
        }
    }
}
