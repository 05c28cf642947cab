//! How far each MsgServer has come, by its links.

use std::collections::{BTreeMap, BTreeSet};

use route_proto::admin::v1alpha1::{Link, LinkPart};

use crate::admin::links::notes;

/// Before the name of an HttpMsgServer, where those are named that have to come.
const HTTP: &str = "http:";

/// How far a MsgServer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    NotHere,
    Connected,
    Claimed,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotHere => "not here",
            Self::Connected => "connected",
            Self::Claimed => "claimed",
        }
    }
}

/// One MsgServer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) is_expected: bool,
    /// It is no HttpMsgServer.
    has_users: bool,
    /// It may be two.
    is_doubtful: bool,
    /// A claimed link of it has a list.
    is_told: bool,
    /// A claimed link of it cannot be read.
    is_opaque: bool,
    pub(super) links: usize,
    pub(super) sessions: u32,
    pub(super) gateways: BTreeSet<String>,
    pub(super) notes: BTreeSet<String>,
}

/// All MsgServers that are expected or here, by name.
pub(super) fn judge(
    links: &[Link],
    doubts: &BTreeMap<String, String>,
    expected: &BTreeSet<String>,
) -> Vec<Server> {
    let mut servers = BTreeMap::new();
    for name in expected {
        let has_users = !name.starts_with(HTTP);
        let name = name.strip_prefix(HTTP).unwrap_or(name);
        let server = servers.entry(name.to_owned());
        let server = server.or_insert_with(|| Server::new(name));
        server.is_expected = true;
        server.has_users |= has_users;
    }
    for link in links {
        let known = servers.entry(link.msg_server.clone());
        let server = known.or_insert_with(|| Server {
            has_users: true,
            ..Server::new(&link.msg_server)
        });
        server.add(link);
    }
    for (name, doubt) in doubts {
        if let Some(server) = servers.get_mut(name) {
            server.is_doubtful = true;
            server.notes.insert(doubt.clone());
        }
    }
    let mut servers: Vec<_> = servers.into_values().collect();
    servers.iter_mut().for_each(Server::conclude);
    servers
}

impl Server {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::NotHere,
            is_expected: false,
            has_users: false,
            is_doubtful: false,
            is_told: false,
            is_opaque: false,
            links: 0,
            sessions: 0,
            gateways: BTreeSet::new(),
            notes: BTreeSet::new(),
        }
    }

    /// As `--expect` takes it.
    pub(super) fn listed(&self) -> String {
        let prefix = if self.has_users { "" } else { HTTP };
        format!("{prefix}{}", self.name)
    }

    fn add(&mut self, link: &Link) {
        let is_active = link.part() == LinkPart::Active;
        // Whether it is still there, nobody knows.
        let has_claimed = link.is_claimed && is_active && !link.is_detached;
        if has_claimed {
            self.claims(link);
        } else if is_active || link.is_detached {
            self.notes
                .extend(Some(notes(link)).filter(|it| !it.is_empty()));
        }
        self.state = self.state.max(match has_claimed {
            true => State::Claimed,
            false => State::Connected,
        });
        self.links += 1;
        // A shadow holds what the one holds that stands.
        self.sessions += if is_active { link.session_count } else { 0 };
        self.gateways.insert(link.gateway_id.clone());
    }

    /// An HttpMsgServer may have the name of a MsgServer: it has no list.
    fn claims(&mut self, link: &Link) {
        if self.is_told && link.is_listed {
            let note = match link.is_named {
                true => "two claimed: do two MsgServers have this name?",
                false => "several MsgServers at one address: name them",
            };
            self.notes.insert(note.to_owned());
        }
        self.is_told |= link.is_listed;
        self.is_opaque |= link.is_opaque;
    }

    /// What is said of it when all its links are known.
    fn conclude(&mut self) {
        let note = match self.state {
            State::Connected if !self.notes.contains("gateway away") => {
                "its primary connection is another one"
            }
            State::Claimed if self.is_opaque => "cannot be read: does --dialect fit?",
            State::Claimed if self.lacks_list() => {
                "no list yet; of an HttpMsgServer there is none: expect http:NAME"
            }
            State::NotHere | State::Connected | State::Claimed => return,
        };
        self.notes.insert(note.to_owned());
    }

    fn lacks_list(&self) -> bool {
        self.has_users && !self.is_told
    }

    /// It keeps the old server from being stopped.
    fn problem(&self) -> Option<String> {
        let problem = match self.state {
            State::NotHere => "is not here",
            State::Connected => "has not claimed",
            State::Claimed if self.is_opaque => "cannot be read",
            State::Claimed if self.lacks_list() => "has sent no list of its users",
            State::Claimed if self.is_doubtful => "may be two MsgServers",
            State::Claimed => return None,
        };
        Some(format!("{} {problem}", self.name))
    }
}

/// What keeps the old server from being stopped. A MsgServer that nobody expects counts, too: it is
/// connected, so its users are on one of the servers.
pub(super) fn missing(servers: &[Server], waits_for: Option<&str>) -> Vec<String> {
    let not_ready =
        waits_for.map(|it| format!("the node does not know all links yet, it waits for {it}"));
    let nobody = servers
        .is_empty()
        .then(|| "no MsgServer is here".to_owned());
    let problems = servers.iter().filter_map(Server::problem);
    not_ready
        .into_iter()
        .chain(nobody)
        .chain(problems)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(links: &[Link], expected: &BTreeSet<String>) -> Vec<Server> {
        super::judge(links, &BTreeMap::new(), expected)
    }

    fn link(msg_server: &str, is_claimed: bool) -> Link {
        Link {
            msg_server: msg_server.to_owned(),
            is_named: true,
            is_claimed,
            is_listed: true,
            part: LinkPart::Active.into(),
            gateway_id: "g".to_owned(),
            session_count: 3,
            ..Link::default()
        }
    }

    fn expected(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn each_expected_msg_server_has_to_claim() {
        let links = [link("a", true), link("b", false)];

        let servers = judge(&links, &expected(&["a", "b", "c"]));

        let states: Vec<_> = servers.iter().map(|it| it.state).collect();
        assert_eq!(states, [State::Claimed, State::Connected, State::NotHere]);
        assert_eq!(
            missing(&servers, None),
            ["b has not claimed", "c is not here"]
        );
        assert!(missing(&judge(&[link("a", true)], &expected(&["a"])), None).is_empty());
    }

    #[test]
    fn one_that_nobody_expects_has_to_claim_too() {
        let servers = judge(&[link("a", true), link("x", false)], &expected(&["a"]));

        assert_eq!(missing(&servers, None), ["x has not claimed"]);
        let expected: Vec<_> = servers.iter().map(|it| it.is_expected).collect();
        assert_eq!(expected, [true, false]);
    }

    #[test]
    fn what_nobody_knows_is_not_safe() {
        let away = Link {
            is_detached: true,
            ..link("a", true)
        };
        let servers = judge(&[away], &expected(&[]));
        assert_eq!(missing(&servers, None), ["a has not claimed"]);
        assert!(servers[0].notes.contains("gateway away"));
        assert_eq!(missing(&[], None), ["no MsgServer is here"]);
        assert_eq!(
            missing(&judge(&[link("a", true)], &expected(&[])), Some("b")).len(),
            1
        );
    }

    #[test]
    fn wrong_configurations_are_named() {
        let mut unreadable = link("a", true);
        unreadable.is_opaque = true;
        let silent = Link {
            is_listed: false,
            ..link("c", false)
        };
        let servers = judge(
            &[unreadable, link("b", true), link("b", true), silent],
            &expected(&[]),
        );

        let notes: Vec<_> = servers
            .iter()
            .map(|it| it.notes.iter().cloned().collect::<Vec<_>>().join("; "))
            .collect();
        assert_eq!(notes[0], "cannot be read: does --dialect fit?");
        assert_eq!(notes[1], "two claimed: do two MsgServers have this name?");
        assert_eq!(
            notes[2],
            "its primary connection is another one; no list yet"
        );
        assert_eq!(
            missing(&servers, None),
            ["a cannot be read", "c has not claimed"]
        );
    }

    #[test]
    fn only_an_http_msg_server_has_no_list() {
        let unlisted = Link {
            is_listed: false,
            session_count: 0,
            ..link("a", true)
        };
        let links = [unlisted];

        for names in [&[][..], &["a"], &["a", "http:a"]] {
            let servers = judge(&links, &expected(names));
            assert_eq!(missing(&servers, None), ["a has sent no list of its users"]);
            assert!(servers[0].notes.iter().any(|it| it.contains("no list yet")));
        }
        let servers = judge(&links, &expected(&["http:a"]));
        assert_eq!(missing(&servers, None), [""; 0]);
        assert_eq!(servers[0].listed(), "http:a");
        // It has the name of a MsgServer.
        let [unlisted] = links;
        let servers = judge(&[link("a", true), unlisted], &expected(&["a"]));
        assert_eq!(missing(&servers, None), [""; 0]);
        assert!(servers[0].notes.is_empty(), "{servers:?}");
    }

    #[test]
    fn sessions_are_those_of_the_links_that_stand() {
        let shadow = Link {
            part: LinkPart::Shadow.into(),
            ..link("a", false)
        };
        let servers = judge(&[link("a", true), link("a", true), shadow], &expected(&[]));

        assert_eq!(servers[0].sessions, 6);
    }
}
