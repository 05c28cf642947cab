//! Names of the methods of the public API: a small closed set, so that they may be labels of
//! metrics.

/// Streams. They are measured where they end.
pub(crate) const SUBSCRIBE: &str = "teamtalk.route.v1.BroadcastService/Subscribe";
/// As above.
pub(crate) const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
/// As above.
pub(crate) const WATCH_USER_SET: &str = "teamtalk.route.v1.PresenceService/WatchUserSet";
/// Those that may have gaps.
pub(crate) const READERS: [&str; 3] = [SUBSCRIBE, WATCH, WATCH_USER_SET];
/// As above.
pub(crate) const DRAIN_GATEWAY: &str = "teamtalk.admin.v1alpha1.AdminService/DrainGateway";
/// As above.
pub(crate) const WATCH_TOPOLOGY: &str = "teamtalk.admin.v1alpha1.AdminService/WatchTopology";
/// All of them.
pub(crate) const STREAMS: [&str; 5] = [
    SUBSCRIBE,
    WATCH,
    WATCH_USER_SET,
    DRAIN_GATEWAY,
    WATCH_TOPOLOGY,
];

/// By this name gateways of before knew AttachService.
pub(crate) const FORMER_ATTACH: &str = "teamtalk.route.v1.LinkService";

/// Calls with one answer.
pub(crate) const UNARY: [&str; 21] = [
    "teamtalk.route.v1.PresenceService/GetUserStatus",
    "teamtalk.route.v1.PresenceService/BatchGetUserStatus",
    "teamtalk.route.v1.PresenceService/ListOnlineUsers",
    "teamtalk.route.v1.PresenceService/CountOnlineUsers",
    "teamtalk.route.v1.BroadcastService/Publish",
    "teamtalk.route.v1.BroadcastService/BatchPublish",
    "teamtalk.route.v1.BroadcastService/ExplainPublish",
    "teamtalk.route.v1.ServerService/GetServerInfo",
    "teamtalk.admin.v1alpha1.AdminService/ListLinks",
    "teamtalk.admin.v1alpha1.AdminService/GetLink",
    "teamtalk.admin.v1alpha1.AdminService/ListClosedLinks",
    "teamtalk.admin.v1alpha1.AdminService/CloseLink",
    "teamtalk.admin.v1alpha1.AdminService/ListGateways",
    "teamtalk.admin.v1alpha1.AdminService/GetStats",
    "teamtalk.admin.v1alpha1.AdminService/ListStreams",
    "teamtalk.admin.v1alpha1.AdminService/CloseStream",
    "teamtalk.admin.v1alpha1.AdminService/SetLogFilter",
    "teamtalk.admin.v1alpha1.AdminService/ExplainUser",
    "teamtalk.admin.v1alpha1.AdminService/KickUser",
    "teamtalk.admin.v1alpha1.AdminService/ExplainEnvelope",
    "teamtalk.admin.v1alpha1.AdminService/ListRoutedEnvelopes",
];
