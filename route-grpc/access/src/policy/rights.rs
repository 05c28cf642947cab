//! What somebody may do.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::kind::Kind;
use super::pattern::Pattern;

/// What somebody may do, in broad terms. Which calls these are, `docs/policy.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ask who is online, without addresses and link ids.
    Reader,
    /// Read what is routed, of some kinds.
    Listener,
    /// Have something routed, of some kinds.
    Publisher,
    /// Attach as a gateway, under some ids.
    Gateway,
    /// Be another node.
    Node,
    /// Operate: everything of AdminService, hidden logins, and what a reader may.
    Admin,
}

/// How much somebody may do in all of his connections. `None`: no more than anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Streams that are open at once.
    pub streams: Option<u32>,
    /// Calls in a second.
    pub calls_per_second: Option<u32>,
    /// Ids of users that calls name, in a second.
    pub ids_per_second: Option<u32>,
    /// Events that are published in a second.
    pub published_per_second: Option<u32>,
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    roles: BTreeSet<Role>,
    hears: BTreeSet<Kind>,
    publishes: BTreeSet<Kind>,
    gateway_ids: Vec<Pattern>,
    limits: Limits,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reader,
        Self::Listener,
        Self::Publisher,
        Self::Gateway,
        Self::Node,
        Self::Admin,
    ];

    /// As policy files, logs and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Listener => "listener",
            Self::Publisher => "publisher",
            Self::Gateway => "gateway",
            Self::Node => "node",
            Self::Admin => "admin",
        }
    }
}

impl Rights {
    /// Nothing is allowed.
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything is allowed: without a policy, on loopback.
    pub fn everything() -> Self {
        Self {
            roles: Role::ALL.into(),
            ..Self::insecure()
        }
    }

    /// What everybody may who reaches a node that is insecure on purpose: read, listen to and publish all kinds, attach
    /// under any id; never operate it or be a node.
    pub fn insecure() -> Self {
        Self {
            roles: [Role::Reader, Role::Listener, Role::Publisher, Role::Gateway].into(),
            hears: Kind::ALL.into(),
            publishes: Kind::ALL.into(),
            gateway_ids: vec![Pattern::Begins(String::new())],
            limits: Limits::default(),
        }
    }

    /// Whether this role is among them. Admins are readers.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// All roles, readers that are admins included.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().copied()
    }

    /// Whether events of this kind may be read. Only listeners have kinds.
    pub fn may_hear(&self, kind: Kind) -> bool {
        self.hears.contains(&kind)
    }

    /// Whether events of this kind may be published. Only publishers have kinds.
    pub fn may_publish(&self, kind: Kind) -> bool {
        self.publishes.contains(&kind)
    }

    /// Whether a gateway may attach under this id. Only gateways have ids; nobody has the empty one.
    pub fn may_attach(&self, gateway_id: &str) -> bool {
        self.gateway_ids
            .iter()
            .any(|pattern| pattern.matches(gateway_id))
    }

    /// How much.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Adds what other rights give, and takes the larger limits. Rights without a limit leave the others' as they are.
    pub(super) fn add(&mut self, other: &Self) {
        self.roles.extend(&other.roles);
        self.hears.extend(&other.hears);
        self.publishes.extend(&other.publishes);
        self.gateway_ids.extend_from_slice(&other.gateway_ids);
        self.limits = self.limits.or_larger(other.limits);
    }

    /// Those of an entry. An admin is a reader, too.
    pub(super) fn of(
        mut roles: BTreeSet<Role>,
        hears: BTreeSet<Kind>,
        publishes: BTreeSet<Kind>,
        gateway_ids: Vec<Pattern>,
        limits: Limits,
    ) -> Self {
        if roles.contains(&Role::Admin) {
            roles.insert(Role::Reader);
        }
        Self {
            roles,
            hears,
            publishes,
            gateway_ids,
            limits,
        }
    }
}

impl Limits {
    fn or_larger(self, other: Self) -> Self {
        // None is less than any number.
        Self {
            streams: self.streams.max(other.streams),
            calls_per_second: self.calls_per_second.max(other.calls_per_second),
            ids_per_second: self.ids_per_second.max(other.ids_per_second),
            published_per_second: self.published_per_second.max(other.published_per_second),
        }
    }
}
