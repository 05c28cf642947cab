//! What one needs for each method, and which node answers it.

use route_access::Role;

use crate::methods::FORMER_ATTACH;

/// What a call needs before its request is read. Services ask for more: kinds of events, the id of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing: probes and tools ask before they can know anything.
    Nothing,
    /// Any role.
    Any,
    /// This one.
    Role(Role),
}

/// Which of several nodes answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Each for itself: it is about the node.
    Node,
    /// The leader: it is about the site. A standby passes it on.
    Site,
    /// The leader, to whom the caller has to come himself. A standby says who that is.
    Leader,
}

const NOTHING: Right = Right::Nothing;
const ANY: Right = Right::Any;
const READER: Right = Right::Role(Role::Reader);
const LISTENER: Right = Right::Role(Role::Listener);
const PUBLISHER: Right = Right::Role(Role::Publisher);
const GATEWAY: Right = Right::Role(Role::Gateway);
const ADMIN: Right = Right::Role(Role::Admin);

const NODE: Part = Part::Node;
const SITE: Part = Part::Site;
const LEADER: Part = Part::Leader;

/// Of every method that a port serves: one that is new has none, and nobody may call it.
const METHODS: [(&str, Right, Part); 31] = [
    ("grpc.health.v1.Health/Check", NOTHING, NODE),
    ("grpc.health.v1.Health/Watch", NOTHING, NODE),
    (
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        NOTHING,
        NODE,
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        NOTHING,
        NODE,
    ),
    ("teamtalk.route.v1.ServerService/GetServerInfo", ANY, NODE),
    (
        "teamtalk.route.v1.PresenceService/GetUserStatus",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.PresenceService/BatchGetUserStatus",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.PresenceService/ListOnlineUsers",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.PresenceService/CountOnlineUsers",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.PresenceService/WatchUserStatus",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.PresenceService/WatchUserSet",
        READER,
        SITE,
    ),
    (
        "teamtalk.route.v1.BroadcastService/Subscribe",
        LISTENER,
        SITE,
    ),
    (
        "teamtalk.route.v1.BroadcastService/Publish",
        PUBLISHER,
        SITE,
    ),
    (
        "teamtalk.route.v1.BroadcastService/BatchPublish",
        PUBLISHER,
        SITE,
    ),
    (
        "teamtalk.route.v1.BroadcastService/ExplainPublish",
        PUBLISHER,
        SITE,
    ),
    ("teamtalk.attach.v1.AttachService/Attach", GATEWAY, LEADER),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListLinks",
        ADMIN,
        SITE,
    ),
    ("teamtalk.admin.v1alpha1.AdminService/GetLink", ADMIN, SITE),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListClosedLinks",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/CloseLink",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListGateways",
        ADMIN,
        SITE,
    ),
    ("teamtalk.admin.v1alpha1.AdminService/GetStats", ADMIN, SITE),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListStreams",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/CloseStream",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/SetLogFilter",
        ADMIN,
        NODE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/ExplainUser",
        ADMIN,
        SITE,
    ),
    ("teamtalk.admin.v1alpha1.AdminService/KickUser", ADMIN, SITE),
    (
        "teamtalk.admin.v1alpha1.AdminService/ExplainEnvelope",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListRoutedEnvelopes",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/DrainGateway",
        ADMIN,
        SITE,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/WatchTopology",
        ADMIN,
        SITE,
    ),
];

/// The method with this path, what it needs, and who answers it. None: nobody may call it.
pub(crate) fn found(path: &str) -> Option<(&'static str, Right, Part)> {
    let method = path.strip_prefix('/').unwrap_or(path);
    if method.split('/').next() == Some(FORMER_ATTACH) {
        // It refuses everybody, in its own words.
        return Some((FORMER_ATTACH, NOTHING, NODE));
    }
    METHODS.iter().find(|(name, ..)| *name == method).copied()
}

/// Those that a policy in audit mode would only tell of.
pub(super) fn judged() -> impl Iterator<Item = &'static str> {
    let is_told = |right: &Right| match right {
        Right::Any | Right::Role(Role::Reader | Role::Listener | Role::Publisher) => true,
        Right::Nothing | Right::Role(Role::Gateway | Role::Node | Role::Admin) => false,
    };
    METHODS
        .iter()
        .filter(move |(_, right, _)| is_told(right))
        .map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_needs_something_that_is_said() {
        let sets = [
            route_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut served = BTreeSet::new();
        for set in sets {
            for file in FileDescriptorSet::decode(set).expect("it is our own").file {
                for service in &file.service {
                    let methods = service.method.iter();
                    served.extend(
                        methods.map(|it| {
                            format!("{}.{}/{}", file.package(), service.name(), it.name())
                        }),
                    );
                }
            }
        }
        let said: BTreeSet<String> = METHODS
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .collect();

        assert_eq!(served, said);
    }
}
