//! Each role against each method of each port: the methods are those of the descriptors, so that a new one has no row.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::FileDescriptorSet;
use route_grpc::settings::security::PolicyMode;
use tonic::{Code, Status};

use super::guarded::{BY_NAME, Guarded};
use crate::attach::reason;
use crate::wire::{Said, Wire};

/// Who may call which: of each service, the roles that may call all of its methods, or of one method.
const ROWS: [(&str, &[&str]); 9] = [
    ("grpc.health.v1.Health/", EVERYBODY),
    ("grpc.reflection.v1.ServerReflection/", EVERYBODY),
    ("grpc.reflection.v1alpha.ServerReflection/", EVERYBODY),
    ("teamtalk.route.v1.ServerService/GetServerInfo", ANY_ROLE),
    ("teamtalk.route.v1.PresenceService/", &["reader", "admin"]),
    (
        "teamtalk.route.v1.BroadcastService/Subscribe",
        &["listener"],
    ),
    ("teamtalk.route.v1.BroadcastService/", &["publisher"]),
    ("teamtalk.attach.v1.AttachService/Attach", &["gateway"]),
    ("teamtalk.admin.v1alpha1.AdminService/", &["admin"]),
];

/// Those with a certificate that gives a role, one that no entry names, and those without one.
const EVERYBODY: &[&str] = &[
    "reader",
    "listener",
    "publisher",
    "gateway",
    "node",
    "admin",
    "nobody",
    "",
];
const ANY_ROLE: &[&str] = &[
    "reader",
    "listener",
    "publisher",
    "gateway",
    "node",
    "admin",
];

/// All methods, and who may call each. One that a service got since fails: say there who may call it.
fn rows() -> BTreeMap<String, BTreeSet<&'static str>> {
    // How many there are of each service that has one row for all.
    const KNOWN: [(&str, usize); 3] = [
        ("teamtalk.route.v1.PresenceService/", 6),
        ("teamtalk.route.v1.BroadcastService/", 4),
        ("teamtalk.admin.v1alpha1.AdminService/", 15),
    ];
    let sets = [
        route_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.map(|it| FileDescriptorSet::decode(it).unwrap().file);
    let mut rows = BTreeMap::new();
    for file in files.iter().flatten() {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let row = ROWS.iter().find(|(of, _)| name.starts_with(of));
                let (_, who) = row.unwrap_or_else(|| panic!("who may call {name}?"));
                rows.insert(name, who.iter().copied().collect());
            }
        }
    }
    for (service, count) in KNOWN {
        let methods = rows.keys().filter(|it| it.starts_with(service));
        assert_eq!(
            methods.count(),
            count,
            "is ROWS right for all of {service}?"
        );
    }
    rows
}

/// Connections of one of them to each port.
struct Calls {
    public: Wire,
    admin: Wire,
}

impl Calls {
    async fn of(guarded: &Guarded, who: &str) -> Self {
        let shows = (!who.is_empty()).then(|| guarded.ca.client(&format!("urn:{who}")));
        let admin = guarded.site.admin_address.parse().unwrap();
        Self {
            public: guarded.wire(shows.as_ref()).await,
            admin: guarded.wire_to(admin, shows.as_ref()).await,
        }
    }

    /// How a call without anything in it ends. A stream that is let in says something first, or may go on for ever.
    async fn end(&self, method: &str) -> Status {
        let wire = match method.contains("AdminService") {
            true => &self.admin,
            false => &self.public,
        };
        wire.ends(method, Said::all(b"").within(200)).await
    }
}

fn is_let_in(method: &str, who: &str, status: &Status) -> bool {
    let expected = match status.code() {
        Code::Unauthenticated => ("CREDENTIAL_MISSING", true),
        Code::PermissionDenied => ("NOT_ALLOWED", false),
        _ => return true,
    };
    let told = (&*reason(status), who.is_empty());
    assert_eq!(told, expected, "{method} by {who:?}: {status:?}");
    false
}

#[tokio::test]
async fn each_role_may_call_what_its_row_says_and_nothing_else() {
    let guarded = Guarded::start(BY_NAME).await;
    let rows = rows();
    for who in EVERYBODY {
        let calls = Calls::of(&guarded, who).await;
        for (method, may) in &rows {
            let status = calls.end(method).await;
            let is_in = is_let_in(method, who, &status);
            assert_eq!(is_in, may.contains(who), "{method} by {who:?}: {status:?}");
        }
    }
}

/// Those who attach gateways or operate the node need the right to it all the same.
#[tokio::test]
async fn a_policy_that_only_tells_lets_in_readers_listeners_and_publishers() {
    let guarded = Guarded::with(BY_NAME, |it| it.security.policy_mode = PolicyMode::Audit).await;
    for who in ["nobody", ""] {
        let calls = Calls::of(&guarded, who).await;
        for (method, may) in rows() {
            let is_enforced = ["gateway", "admin"]
                .iter()
                .any(|it| may.len() == 1 && may.contains(it));
            let told =
                format!("teamtalk_route_access_would_refuse_total{{rpc_method=\"{method}\"}}");
            let is_judged = !is_enforced && !may.contains(who);
            let before = is_judged.then(|| guarded.metric(&told));

            let status = calls.end(&method).await;

            let is_in = is_let_in(&method, who, &status);
            assert_eq!(is_in, !is_enforced, "{method} by {who:?}: {status:?}");
            if let Some(before) = before {
                assert!(
                    guarded.metric(&told) > before,
                    "{method} by {who:?} is told"
                );
            }
        }
    }
    let wire = guarded.wire(None).await;
    let said = Said::all(b"").token("x");
    let status = wire
        .ends("teamtalk.route.v1.ServerService/GetServerInfo", said)
        .await;
    assert_eq!(reason(&status), "CREDENTIAL_INVALID", "{status:?}");
}
