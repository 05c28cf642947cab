//! The names by which both programs take their flags from the environment.

use std::collections::HashSet;

use tracing::warn;

/// All of them, of both programs: the two may share an environment.
pub const NAMES: [&str; 125] = [
    "TT_GATEWAY_ALLOW_CIDR",
    "TT_GATEWAY_CLIENT_TYPES",
    "TT_GATEWAY_CLOSE_TIMEOUT",
    "TT_GATEWAY_CLOSE_WINDOW",
    "TT_GATEWAY_DIALECT",
    "TT_GATEWAY_EMBEDDED",
    "TT_GATEWAY_GATEWAY_ID",
    "TT_GATEWAY_GRPC_LISTEN",
    "TT_GATEWAY_HEARTBEAT_INTERVAL",
    "TT_GATEWAY_HOST_TIMEOUT",
    "TT_GATEWAY_IDLE_TIMEOUT",
    "TT_GATEWAY_LENIENT",
    "TT_GATEWAY_LINK_QUEUE_BYTES",
    "TT_GATEWAY_LISTEN",
    "TT_GATEWAY_LOG_FILTER",
    "TT_GATEWAY_LOG_FORMAT",
    "TT_GATEWAY_MAX_CONNECTIONS",
    "TT_GATEWAY_MAX_CONNECTIONS_PER_SOURCE",
    "TT_GATEWAY_MAX_PDU_BYTES",
    "TT_GATEWAY_MEMORY_LIMIT",
    "TT_GATEWAY_MSG_SERVER",
    "TT_GATEWAY_NODE_SILENCE",
    "TT_GATEWAY_PDU_RATE",
    "TT_GATEWAY_PDU_TIMEOUT",
    "TT_GATEWAY_PROBE_LISTEN",
    "TT_GATEWAY_PROXY_PROTOCOL_FROM",
    "TT_GATEWAY_QUERY_TIMEOUT",
    "TT_GATEWAY_REMEMBERED_ORIGINS",
    "TT_GATEWAY_SHUTDOWN_DEADLINE",
    "TT_GATEWAY_UPSTREAM",
    "TT_GATEWAY_UPSTREAM_BACK_OFF",
    "TT_GATEWAY_UPSTREAM_CA",
    "TT_GATEWAY_UPSTREAM_CERT",
    "TT_GATEWAY_UPSTREAM_CONNECT_TIMEOUT",
    "TT_GATEWAY_UPSTREAM_DRAIN_WAIT",
    "TT_GATEWAY_UPSTREAM_KEEPALIVE_INTERVAL",
    "TT_GATEWAY_UPSTREAM_KEEPALIVE_TIMEOUT",
    "TT_GATEWAY_UPSTREAM_KEY",
    "TT_GATEWAY_UPSTREAM_LOST",
    "TT_GATEWAY_UPSTREAM_SERVER_NAME",
    "TT_GATEWAY_UPSTREAM_STREAM_BYTES",
    "TT_GATEWAY_UPSTREAM_TOKEN_FILE",
    "TT_GATEWAY_UPSTREAM_WELCOME_TIMEOUT",
    "TT_GATEWAY_WINDOW_BYTES",
    "TT_GATEWAY_WINDOW_TOTAL_BYTES",
    "TT_GATEWAY_WORKER_THREADS",
    "TT_GATEWAY_WRITE_TIMEOUT",
    "TT_ROUTE_ADDRESS",
    "TT_ROUTE_ADMIN_ADDRESS",
    "TT_ROUTE_ADMIN_GRPC_LISTEN",
    "TT_ROUTE_ADVERTISE_API",
    "TT_ROUTE_ADVERTISE_ATTACH",
    "TT_ROUTE_ATTACH_LISTEN",
    "TT_ROUTE_CALL_WAIT",
    "TT_ROUTE_CLIENT_CA",
    "TT_ROUTE_CLIENT_CERT",
    "TT_ROUTE_CLIENT_KEY",
    "TT_ROUTE_CLIENT_SERVER_NAME",
    "TT_ROUTE_CLIENT_TOKEN_FILE",
    "TT_ROUTE_COLD_START_BYTES",
    "TT_ROUTE_COLD_START_WAIT",
    "TT_ROUTE_DEPARTED_WAIT",
    "TT_ROUTE_DETACH_GRACE",
    "TT_ROUTE_DRAIN_WINDOW",
    "TT_ROUTE_ENGINE",
    "TT_ROUTE_FAN_OUT",
    "TT_ROUTE_GATEWAY_GIVEN_UP",
    "TT_ROUTE_GATEWAY_QUEUE_BYTES",
    "TT_ROUTE_GATEWAY_REPLAY_WAIT",
    "TT_ROUTE_GATEWAY_SILENCE",
    "TT_ROUTE_GRPC_KEEPALIVE_INTERVAL",
    "TT_ROUTE_GRPC_KEEPALIVE_TIMEOUT",
    "TT_ROUTE_GRPC_STREAM_BYTES",
    "TT_ROUTE_HEALTH_LISTEN",
    "TT_ROUTE_ID_IN_USE_WAIT",
    "TT_ROUTE_INSECURE",
    "TT_ROUTE_LISTEN",
    "TT_ROUTE_LOG_BYTES",
    "TT_ROUTE_LOG_EVENTS",
    "TT_ROUTE_LOG_FILTER",
    "TT_ROUTE_LOG_FORMAT",
    "TT_ROUTE_MAX_GATEWAYS",
    "TT_ROUTE_MAX_GRPC_CONNECTIONS",
    "TT_ROUTE_MAX_SESSIONS",
    "TT_ROUTE_MAX_SESSIONS_PER_LINK",
    "TT_ROUTE_MAX_STREAMS",
    "TT_ROUTE_MAX_STREAM_AGE",
    "TT_ROUTE_MEMORY_LIMIT",
    "TT_ROUTE_NATS_CREDS",
    "TT_ROUTE_NATS_PASSWORD_FILE",
    "TT_ROUTE_NATS_TLS_CA",
    "TT_ROUTE_NATS_TLS_CERT",
    "TT_ROUTE_NATS_TLS_KEY",
    "TT_ROUTE_NATS_TOKEN_FILE",
    "TT_ROUTE_NATS_URL",
    "TT_ROUTE_NATS_USER",
    "TT_ROUTE_NEWCOMER_WAIT",
    "TT_ROUTE_NODE_ID",
    "TT_ROUTE_NOTIFY_ON_LOSS",
    "TT_ROUTE_PATIENT_BYTES",
    "TT_ROUTE_PDU_LIMIT",
    "TT_ROUTE_PEER_CA",
    "TT_ROUTE_PEER_CERT",
    "TT_ROUTE_PEER_KEY",
    "TT_ROUTE_PEER_SERVER_NAME",
    "TT_ROUTE_PEER_TOKEN_FILE",
    "TT_ROUTE_POLICY",
    "TT_ROUTE_POLICY_MODE",
    "TT_ROUTE_PROBE_LISTEN",
    "TT_ROUTE_PUBLISH_BYTES",
    "TT_ROUTE_ROUTED_BYTES",
    "TT_ROUTE_SEAT_BYTES",
    "TT_ROUTE_SEAT_HOLD",
    "TT_ROUTE_SHUTDOWN_DEADLINE",
    "TT_ROUTE_SITE",
    "TT_ROUTE_TIMEOUT",
    "TT_ROUTE_TLS_CERT",
    "TT_ROUTE_TLS_CLIENT_CA",
    "TT_ROUTE_TLS_KEY",
    "TT_ROUTE_TOKEN_AUDIENCE",
    "TT_ROUTE_TOKEN_ISSUER",
    "TT_ROUTE_TOKEN_KEYS",
    "TT_ROUTE_TOKEN_LEEWAY",
    "TT_ROUTE_UNFINISHED_BYTES",
    "TT_ROUTE_WORKER_THREADS",
];

/// Names in the environment that begin as the programs' own and are no flag of either: somebody believes that they have an
/// effect. Those that Kubernetes sets for a Service of such a name are not meant.
pub fn unknown_names() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    unknown_of(names.collect())
}

/// Says in the log which names are [unknown](unknown_names).
pub fn warn_of_unknown_names() {
    let names = unknown_names();
    if !names.is_empty() {
        warn!(
            ?names,
            "set in the environment, and no flag has such a name"
        );
    }
}

fn unknown_of(mut names: Vec<String>) -> Vec<String> {
    let services = names.iter();
    let services = services.filter_map(|name| name.strip_suffix("_SERVICE_HOST"));
    let services: HashSet<String> = services.map(str::to_owned).collect();
    let of_service = |name: &str| {
        services.iter().any(|service| {
            let rest = name.strip_prefix(service.as_str()).unwrap_or_default();
            rest.starts_with("_SERVICE_") || rest == "_PORT" || rest.starts_with("_PORT_")
        })
    };
    names.retain(|name| {
        name.starts_with("TT_") && !NAMES.contains(&name.as_str()) && !of_service(name)
    });
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_flag_has_is_unknown_unless_kubernetes_sets_it() {
        let names = [
            "PATH",
            "TT_ROUTE_LISTEN",
            "TT_GATEWAY_LISTEN",
            "TT_ROUT_LISTEN",
            "TT_LISTEN",
            "TT_ROUTE_PORT",
            "TT_NODE_SERVICE_HOST",
            "TT_NODE_SERVICE_PORT_GRPC",
            "TT_NODE_PORT",
            "TT_NODE_PORT_50051_TCP_ADDR",
            "TT_NODE_PORTS",
        ];

        let unknown = unknown_of(names.map(str::to_owned).to_vec());

        let those = [
            "TT_LISTEN",
            "TT_NODE_PORTS",
            "TT_ROUTE_PORT",
            "TT_ROUT_LISTEN",
        ];
        assert_eq!(unknown, those);
    }
}
