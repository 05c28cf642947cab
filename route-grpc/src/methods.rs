//! Names of the methods of the public API: a small closed set, so that they may be labels of
//! metrics.

/// Streams. They are measured where they end.
pub(crate) const SUBSCRIBE: &str = "teamtalk.route.v1.BroadcastService/Subscribe";
/// As above.
pub(crate) const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
/// As above.
pub(crate) const WATCH_USERS: &str = "teamtalk.route.v1.PresenceService/WatchUsers";
/// All of them.
pub(crate) const STREAMS: [&str; 3] = [SUBSCRIBE, WATCH, WATCH_USERS];

/// Calls with one answer.
pub(crate) const UNARY: [&str; 7] = [
    "teamtalk.route.v1.PresenceService/GetUserStatus",
    "teamtalk.route.v1.PresenceService/BatchGetUserStatus",
    "teamtalk.route.v1.PresenceService/ListOnlineUsers",
    "teamtalk.route.v1.PresenceService/CountUsers",
    "teamtalk.route.v1.BroadcastService/Publish",
    "teamtalk.route.v1.ServerService/GetServerInfo",
    "teamtalk.route.v1.BroadcastService/BatchPublish",
];
