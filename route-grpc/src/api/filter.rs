//! Which events a subscriber wants, and how much of them.

use hashbrown::HashSet;
use route_access::Kind;
use route_core::{Event, LinkView};
use route_proto::v1::conversation::Of;
use route_proto::v1::{
    self as api, Conversation, EventFilter, EventKind, SubscribeRequest, UserPair, UserRole,
    UserShare,
};

use crate::api::events::{self, Name, Talk};
use crate::dialects::Dialects;
use crate::limits::{MAX_IDS, check_ids, too_many_ids};
use crate::refusal::{Mistakes, Refusal};

/// Filters of one subscription, at most: each event is held against all of them.
pub(crate) const MAX_FILTERS: usize = 100;

/// Parts that users may be shared out into, at most.
pub(crate) const MAX_SHARES: u32 = 1000;

/// The longest event, bytes, unless the request says otherwise: with all that is around it, a quarter
/// of what gRPC libraries take.
pub(crate) const USUAL_BYTES: usize = 1 << 20;

/// What one subscription lets through.
#[derive(Debug)]
pub(crate) struct Filter {
    /// None: everything passes.
    any_of: Vec<Conditions>,
    raw_pdu: bool,
    max_bytes: usize,
}

/// All of these have to hold.
#[derive(Debug)]
struct Conditions {
    /// Bit n stands for the kind with number n; 0: all kinds.
    kinds: u32,
    role: UserRole,
    /// Empty: all users.
    users: HashSet<u32>,
    all_groups: bool,
    /// Empty: all.
    conversations: HashSet<Talk>,
    share: Option<UserShare>,
    /// Empty: wherever they come from.
    msg_servers: HashSet<String>,
}

impl Filter {
    /// What a request asks for.
    pub(crate) fn new(request: &SubscribeRequest) -> Result<Self, Refusal> {
        let filters = &request.filters;
        if filters.len() > MAX_FILTERS {
            let problem = format!("{} filters, at most {MAX_FILTERS}", filters.len());
            return Err(Refusal::field("filters", problem));
        }
        let each = filters.iter();
        let ids = each
            .map(|it| it.user_ids.len() + it.conversations.len() + it.msg_servers.len())
            .sum();
        if ids > MAX_IDS {
            return Err(too_many_ids(ids, "filters"));
        }
        let mut mistakes = Mistakes::default();
        let any_of = filters.iter().enumerate().filter_map(|(number, filter)| {
            let conditions = Conditions::new(filter);
            mistakes.note(conditions.map_err(|refusal| refusal.of_part("filters", number)))
        });
        let any_of = any_of.collect();
        mistakes.end()?;
        Ok(Self {
            any_of,
            raw_pdu: request.include_raw_pdu,
            max_bytes: match request.max_event_bytes {
                0 => USUAL_BYTES,
                bytes => bytes as usize,
            },
        })
    }

    /// The kinds of what may pass.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let kinds = Kind::ALL.into_iter();
        let may_pass = |kind: &Kind| {
            self.any_of
                .iter()
                .any(|it| it.has_kind_number(*kind as i32))
        };
        kinds
            .filter(|kind| self.any_of.is_empty() || may_pass(kind))
            .collect()
    }

    /// What passes, in words, for operators.
    pub(crate) fn about(&self) -> String {
        if self.any_of.is_empty() {
            return "all events".to_owned();
        }
        let filters: Vec<_> = self.any_of.iter().map(Conditions::about).collect();
        filters.join(" or ")
    }

    /// The event, if it is wanted. A body is read only if its kind is.
    pub(crate) fn pass(&self, dialects: &Dialects, event: &Event) -> Option<api::Event> {
        if let Event::Presence(change) = event
            && !change.is_of_status()
        {
            return None;
        }
        let (kind, origin) = (events::kind(dialects, event), events::origin(event));
        let may_pass = |it: &&Conditions| it.has_kind(kind) && it.comes_from(origin);
        if !self.any_of.is_empty() && !self.any_of.iter().any(|it| may_pass(&it)) {
            return None;
        }
        let mut typed = events::typed(dialects, event, kind);
        let mut candidates = self.any_of.iter().filter(may_pass);
        if !self.any_of.is_empty() && !candidates.any(|it| it.pass(&typed)) {
            return None;
        }
        if self.raw_pdu {
            typed.raw_pdu = events::raw_pdu(event);
        }
        events::fit(&mut typed, self.max_bytes);
        Some(typed)
    }
}

impl Conditions {
    fn about(&self) -> String {
        let kinds = (1..32).filter(|kind| self.kinds & 1 << kind != 0);
        let kinds = kinds.filter_map(|kind| EventKind::try_from(kind).ok());
        let kinds: Vec<_> = kinds
            .map(|kind| {
                kind.as_str_name()
                    .trim_start_matches("EVENT_KIND_")
                    .to_lowercase()
            })
            .collect();
        let many = |count: usize, what| (count > 0).then(|| format!("{count} {what}"));
        let share = self.share.as_ref();
        let share = share.map(|it| format!("share {} of {}", it.index, it.share_count));
        let parts = [
            (!kinds.is_empty()).then(|| kinds.join("+")),
            many(self.users.len(), "users"),
            self.all_groups.then(|| "all groups".to_owned()),
            many(self.conversations.len(), "conversations"),
            share,
            many(self.msg_servers.len(), "MsgServers"),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => "all events".to_owned(),
            false => parts.join(", "),
        }
    }

    fn new(filter: &EventFilter) -> Result<Self, Refusal> {
        let mut mistakes = Mistakes::default();
        let kinds = mistakes.note(kinds(&filter.kinds));
        mistakes.note(check_ids(&filter.user_ids, "user_ids"));
        let role = mistakes.note(role(filter.role));
        let talks = filter.conversations.iter().enumerate().map(talk);
        let conversations = mistakes.note(talks.collect::<Result<_, _>>());
        mistakes.note(check_names(&filter.msg_servers));
        mistakes.note(filter.share.map_or(Ok(()), check_share));
        mistakes.end()?;
        check_conditions(filter)?;
        Ok(Self {
            kinds: kinds.unwrap_or_default(),
            role: role.unwrap_or_default(),
            users: filter.user_ids.iter().copied().collect(),
            all_groups: filter.include_all_groups,
            conversations: conversations.unwrap_or_default(),
            share: filter.share,
            msg_servers: filter.msg_servers.iter().cloned().collect(),
        })
    }

    fn has_kind(&self, kind: EventKind) -> bool {
        self.has_kind_number(kind as i32)
    }

    fn has_kind_number(&self, kind: i32) -> bool {
        self.kinds == 0 || self.kinds & 1 << kind != 0
    }

    fn comes_from(&self, origin: Option<&LinkView>) -> bool {
        self.msg_servers.is_empty()
            || origin.is_some_and(|link| self.msg_servers.contains(&link.msg_server))
    }

    /// Kind and origin have passed.
    fn pass(&self, event: &api::Event) -> bool {
        if !self.conversations.is_empty()
            && !events::talk(event).is_some_and(|talk| self.conversations.contains(&talk))
        {
            return false;
        }
        let mut names = events::names(event, self.role).peekable();
        if names.peek().is_none() {
            // Somebody has to have what names nobody.
            return self.users.is_empty() && self.share.is_none_or(|share| share.index == 0);
        }
        names.any(|name| self.wants(name) && self.share.is_none_or(|share| is_of(share, name)))
    }

    fn wants(&self, name: Name) -> bool {
        self.users.is_empty()
            || match name {
                Name::User(user) => self.users.contains(&user),
                Name::Group(_) => self.all_groups,
            }
    }
}

/// What says nothing would let everything through, perhaps because a list was empty by mistake.
fn check_conditions(filter: &EventFilter) -> Result<(), Refusal> {
    let users_or_share = !filter.user_ids.is_empty() || filter.share.is_some();
    if filter.role != 0 && !users_or_share {
        let problem = "is of no use without user_ids or a share";
        return Err(Refusal::field("role", problem));
    }
    if filter.include_all_groups && filter.user_ids.is_empty() {
        let problem = "is of no use without user_ids";
        return Err(Refusal::field("include_all_groups", problem));
    }
    let sets_any = users_or_share
        || !filter.kinds.is_empty()
        || !filter.conversations.is_empty()
        || !filter.msg_servers.is_empty();
    match sets_any {
        true => Ok(()),
        false => Err(Refusal::field(
            "kinds",
            "no condition is set: for all events, send no filter",
        )),
    }
}

fn role(number: i32) -> Result<UserRole, Refusal> {
    let unknown = |_| Refusal::field("role", format!("{number} is no role"));
    UserRole::try_from(number).map_err(unknown)
}

fn check_share(UserShare { index, share_count }: UserShare) -> Result<(), Refusal> {
    if index < share_count && share_count <= MAX_SHARES {
        return Ok(());
    }
    let problem = format!("{index} of {share_count} is no share of 1 to {MAX_SHARES}");
    Err(Refusal::field("share", problem))
}

fn check_names(msg_servers: &[String]) -> Result<(), Refusal> {
    match msg_servers.iter().position(String::is_empty) {
        Some(number) => {
            let field = format!("msg_servers[{number}]");
            Err(Refusal::field(
                field,
                "is empty, and every MsgServer has a name",
            ))
        }
        None => Ok(()),
    }
}

fn talk((number, conversation): (usize, &Conversation)) -> Result<Talk, Refusal> {
    match conversation.of {
        Some(Of::GroupId(group)) if group != 0 => Ok(Talk::Group(group)),
        Some(Of::Users(UserPair {
            user_id: a,
            other_user_id: b,
        })) if a != 0 && b != 0 => Ok(Talk::pair(a, b)),
        Some(_) | None => {
            let field = format!("conversations[{number}]");
            Err(Refusal::field(field, "names nobody"))
        }
    }
}

fn kinds(numbers: &[i32]) -> Result<u32, Refusal> {
    let mut kinds = 0;
    for &number in numbers {
        match EventKind::try_from(number) {
            Ok(kind) if kind != EventKind::Unspecified => kinds |= 1 << number,
            Ok(_) | Err(_) => {
                let problem = format!("{number} is no kind of event");
                return Err(Refusal::field("kinds", problem));
            }
        }
    }
    Ok(kinds)
}

fn is_of(share: UserShare, name: Name) -> bool {
    let (Name::User(number) | Name::Group(number)) = name;
    hash(number) % share.share_count == share.index
}

/// As the contract has it: other programs compute the same.
fn hash(number: u32) -> u32 {
    let mut hash = number;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use route_proto::v1::event::Body as Typed;
    use route_proto::v1::{ChatMessage, ConversationType, GroupChange, OtherCommand};

    use super::*;

    #[test]
    fn the_hash_is_the_one_in_the_contract() {
        assert_eq!((hash(1), hash(1001)), (1_364_076_727, 413_946_844));
    }

    #[test]
    fn each_event_has_one_worker_where_it_names_one() {
        for of in [1, 2, 3, 7] {
            let mut events_of = vec![0; of as usize];
            for user in 0..700 {
                for event in [chat(user, 9), to_group(9, user), nobody()] {
                    let role = if event == to_group(9, user) {
                        UserRole::Receiver
                    } else {
                        UserRole::Sender
                    };
                    let workers: Vec<_> = (0..of)
                        .filter(|index| shared(*index, of, role).pass(&event))
                        .collect();
                    assert_eq!(workers.len(), 1, "{event:?}");
                    events_of[workers[0] as usize] += 1;
                }
            }
            let fair = 2 * 700 / of;
            assert!(
                events_of.iter().all(|it| *it > fair * 7 / 10),
                "{events_of:?}"
            );
        }
    }

    #[test]
    fn an_event_of_several_shares_belongs_to_each_of_them() {
        let change = event(Typed::GroupChange(GroupChange {
            user_id: 1,
            member_ids: (0..100).collect(),
            ..GroupChange::default()
        }));

        for index in 0..3 {
            assert!(shared(index, 3, UserRole::Receiver).pass(&change));
        }
        let by_sender = |index| shared(index, 3, UserRole::Sender).pass(&change);
        assert_eq!((0..3).filter(|index| by_sender(*index)).count(), 1);
    }

    fn shared(index: u32, share_count: u32, role: UserRole) -> Conditions {
        let filter = EventFilter {
            role: role.into(),
            share: Some(UserShare { index, share_count }),
            ..EventFilter::default()
        };
        Conditions::new(&filter).expect("it is one")
    }

    fn chat(from_user_id: u32, to_id: u32) -> api::Event {
        event(Typed::ChatMessage(ChatMessage {
            from_user_id,
            to_id,
            ..ChatMessage::default()
        }))
    }

    fn to_group(from_user_id: u32, to_id: u32) -> api::Event {
        event(Typed::ChatMessage(ChatMessage {
            from_user_id,
            to_id,
            conversation_type: ConversationType::Group.into(),
            ..ChatMessage::default()
        }))
    }

    fn nobody() -> api::Event {
        event(Typed::OtherCommand(OtherCommand::default()))
    }

    fn event(typed: Typed) -> api::Event {
        api::Event {
            body: Some(typed),
            ..api::Event::default()
        }
    }
}
