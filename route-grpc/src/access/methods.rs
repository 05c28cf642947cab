//! What one needs for each method.

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

const NOTHING: Right = Right::Nothing;
const ANY: Right = Right::Any;
const READER: Right = Right::Role(Role::Reader);
const LISTENER: Right = Right::Role(Role::Listener);
const PUBLISHER: Right = Right::Role(Role::Publisher);
const GATEWAY: Right = Right::Role(Role::Gateway);
const ADMIN: Right = Right::Role(Role::Admin);

/// Of every method that a port serves: one that is new has none, and nobody may call it.
const RIGHTS: [(&str, Right); 31] = [
    ("grpc.health.v1.Health/Check", NOTHING),
    ("grpc.health.v1.Health/Watch", NOTHING),
    (
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        NOTHING,
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        NOTHING,
    ),
    ("teamtalk.route.v1.ServerService/GetServerInfo", ANY),
    ("teamtalk.route.v1.PresenceService/GetUserStatus", READER),
    (
        "teamtalk.route.v1.PresenceService/BatchGetUserStatus",
        READER,
    ),
    ("teamtalk.route.v1.PresenceService/ListOnlineUsers", READER),
    ("teamtalk.route.v1.PresenceService/CountOnlineUsers", READER),
    ("teamtalk.route.v1.PresenceService/WatchUserStatus", READER),
    ("teamtalk.route.v1.PresenceService/WatchUserSet", READER),
    ("teamtalk.route.v1.BroadcastService/Subscribe", LISTENER),
    ("teamtalk.route.v1.BroadcastService/Publish", PUBLISHER),
    ("teamtalk.route.v1.BroadcastService/BatchPublish", PUBLISHER),
    (
        "teamtalk.route.v1.BroadcastService/ExplainPublish",
        PUBLISHER,
    ),
    ("teamtalk.attach.v1.AttachService/Attach", GATEWAY),
    ("teamtalk.admin.v1alpha1.AdminService/ListLinks", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/GetLink", ADMIN),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListClosedLinks",
        ADMIN,
    ),
    ("teamtalk.admin.v1alpha1.AdminService/CloseLink", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/ListGateways", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/GetStats", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/ListStreams", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/CloseStream", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/SetLogFilter", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/ExplainUser", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/KickUser", ADMIN),
    (
        "teamtalk.admin.v1alpha1.AdminService/ExplainEnvelope",
        ADMIN,
    ),
    (
        "teamtalk.admin.v1alpha1.AdminService/ListRoutedEnvelopes",
        ADMIN,
    ),
    ("teamtalk.admin.v1alpha1.AdminService/DrainGateway", ADMIN),
    ("teamtalk.admin.v1alpha1.AdminService/WatchTopology", ADMIN),
];

/// The method with this path, and what it needs. None: nobody may call it.
pub(crate) fn found(path: &str) -> Option<(&'static str, Right)> {
    let method = path.strip_prefix('/').unwrap_or(path);
    if method.split('/').next() == Some(FORMER_ATTACH) {
        // It refuses everybody, in its own words.
        return Some((FORMER_ATTACH, NOTHING));
    }
    RIGHTS.iter().find(|(name, _)| *name == method).copied()
}

/// Those that a policy in audit mode would only tell of.
pub(super) fn judged() -> impl Iterator<Item = &'static str> {
    let is_told = |right: &Right| match right {
        Right::Any | Right::Role(Role::Reader | Role::Listener | Role::Publisher) => true,
        Right::Nothing | Right::Role(Role::Gateway | Role::Node | Role::Admin) => false,
    };
    RIGHTS
        .iter()
        .filter(move |(_, right)| is_told(right))
        .map(|(name, _)| *name)
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
        let said: BTreeSet<String> = RIGHTS.iter().map(|(name, _)| (*name).to_owned()).collect();

        assert_eq!(served, said);
    }
}
