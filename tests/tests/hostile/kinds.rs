//! An attack of each kind of `docs/threat-model.md`, and of the peers that cost everybody, that goes on
//! and on. Each is counted, and most are logged; others are served during it and after it; and the
//! servers end within their deadline while it goes on. `docs/testing.md` says which is which.

use std::net::SocketAddr;

use system_tests::deployment::Setup;
use system_tests::siege;
use tokio::task::JoinSet;

use crate::{Siege, gateways, peers, services};

/// What all of them may cost, queues at their bounds included.
const GROWTH: u64 = 384 << 20;

/// Where the servers listen.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) pdu: SocketAddr,
    pub(crate) grpc: SocketAddr,
    /// The probe port of the gateway.
    pub(crate) probes: SocketAddr,
}

/// Which of the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Gateway,
    Node,
}

/// A metric that tells of an attack, and what it has to grow by.
#[derive(Clone, Copy)]
struct Counted(At, &'static str, &'static str, f64);

/// One kind of attack.
struct Kind {
    gateway_flags: &'static [&'static str],
    node_flags: &'static [&'static str],
    /// They go on until the set is dropped.
    begin: fn(Target, &mut JoinSet<()>),
    counted: Counted,
    /// In a WARN of whom, if there is one.
    said: Option<(At, &'static str)>,
}

const KIND: Kind = Kind {
    gateway_flags: &[],
    node_flags: &[],
    begin: |_, _| {},
    counted: Counted(At::Gateway, "", "", 0.0),
    said: None,
};

const REFUSED: &str = "teamtalk_pdu_connections_refused_total";
const RECEIVED: &str = "teamtalk_pdu_received_total";
const TRANSITIONS: &str = "teamtalk_route_links_transitions_total";
const HTTP2_ENDED: &str = "teamtalk_route_http2_ended_total";
const CALLS: &str = "rpc_server_call_duration_seconds_count";
const STREAMS_REFUSED: &str = "teamtalk_route_streams_refused_total";
const ATTACH_REFUSED: &str = "teamtalk_route_attach_refused_total";

use At::{Gateway, Node};

system_tests::in_both_setups! {
    connections_of_one_address: play(Kind {
        gateway_flags: &["--max-connections-per-source=20"],
        begin: |at, all| { all.spawn(peers::connections(at, [50, 50])); },
        counted: Counted(Gateway, REFUSED, "reason=\"source\"", 200.0),
        said: Some((Gateway, "connection refused")),
        ..KIND
    });
    connections_of_many_addresses: play(Kind {
        gateway_flags: &["--max-connections=20"],
        begin: |at, all| { all.spawn(peers::connections(at, [50, 200])); },
        counted: Counted(Gateway, REFUSED, "reason=\"total\"", 200.0),
        said: Some((Gateway, "connection refused")),
        ..KIND
    });
    connections_that_may_not: play(Kind {
        gateway_flags: &["--allow-cidr=127.0.0.0/25"],
        begin: |at, all| { all.spawn(peers::connections(at, [200, 240])); },
        counted: Counted(Gateway, REFUSED, "reason=\"address\"", 200.0),
        said: Some((Gateway, "its address is not in --allow-cidr")),
        ..KIND
    });
    lengths_that_cannot_be: play(Kind {
        begin: |at, all| { all.spawn(peers::impossible_lengths(at)); },
        counted: Counted(Gateway, crate::CLOSED, crate::BAD_FRAME, 100.0),
        said: Some((Gateway, "a PDU claims")),
        ..KIND
    });
    headers_byte_by_byte: play(Kind {
        gateway_flags: &["--pdu-timeout=500ms"],
        begin: |at, all| { all.spawn(peers::drips(at)); },
        counted: Counted(Gateway, crate::CLOSED, crate::BAD_FRAME, 100.0),
        said: Some((Gateway, "did not end a PDU")),
        ..KIND
    });
    long_pdus_that_never_end: play(Kind {
        gateway_flags: &["--pdu-timeout=300ms", "--pdu-rate=16MiB"],
        begin: |at, all| besiege(siege::Attack::UnendedPdus, at, all),
        counted: Counted(Gateway, crate::CLOSED, crate::BAD_FRAME, 10.0),
        said: Some((Gateway, "did not end a PDU")),
        ..KIND
    });
    a_reader_that_never_reads: play(Kind {
        gateway_flags: &["--link-queue-bytes=4MiB", "--max-pdu-bytes=1MiB"],
        begin: |at, all| besiege(siege::Attack::NeverReads, at, all),
        counted: Counted(Gateway, crate::CLOSED, crate::SLOW_READER, 1.0),
        said: Some((Gateway, "SLOW_READER")),
        ..KIND
    });
    a_reader_that_pauses: play(Kind {
        begin: |at, all| besiege(siege::Attack::SlowReader, at, all),
        counted: Counted(Gateway, crate::CONGESTIONS, "", 1.0),
        ..KIND
    });
    noise: play(Kind {
        begin: |at, all| besiege(siege::Attack::Noise, at, all),
        counted: Counted(Gateway, crate::CLOSED, crate::BAD_FRAME, 3.0),
        said: Some((Gateway, "a PDU claims")),
        ..KIND
    });
    bodies_that_do_not_parse: play(Kind {
        begin: |at, all| { all.spawn(peers::unreadable_bodies(at)); },
        counted: Counted(Gateway, RECEIVED, "kind=\"unreadable\"", 1000.0),
        said: Some((Gateway, "dropping what cannot be read")),
        ..KIND
    });
    unknown_commands: play(Kind {
        begin: |at, all| { all.spawn(peers::unknown_commands(at)); },
        counted: Counted(Gateway, RECEIVED, "kind=\"unknown\"", 1000.0),
        said: Some((Gateway, "dropping an unknown command")),
        ..KIND
    });
    a_storm_of_logins: play(Kind {
        begin: |at, all| besiege(siege::Attack::Storm, at, all),
        counted: Counted(Gateway, RECEIVED, "kind=\"update\"", 1000.0),
        ..KIND
    });
    a_crowd_with_the_same_users: play(Kind {
        begin: |at, all| besiege(siege::Attack::Crowd, at, all),
        counted: Counted(Node, TRANSITIONS, "kind=\"overflows\"", 50.0),
        said: Some((Node, "more sessions than are kept")),
        ..KIND
    });
    lists_without_end: play(Kind {
        node_flags: &["--max-sessions-per-link=1000"],
        begin: |at, all| { all.spawn(peers::long_lists(at)); },
        counted: Counted(Node, TRANSITIONS, "kind=\"overflows\"", 3.0),
        said: Some((Node, "more sessions than are kept")),
        ..KIND
    });

    grpc_connections: play(Kind {
        node_flags: &["--max-grpc-connections=20"],
        begin: |at, all| { all.spawn(services::connections(at)); },
        counted: Counted(Node, "teamtalk_route_connections_refused_total", "", 200.0),
        said: Some((Node, "too many gRPC connections")),
        ..KIND
    });
    grpc_connections_that_say_nothing: play(Kind {
        begin: |at, all| { all.spawn(services::silent_connections(at)); },
        counted: Counted(Node, "teamtalk_route_connections_silent_total", "", 50.0),
        said: Some((Node, "it did not begin to speak HTTP/2 in time")),
        ..KIND
    });
    grpc_connections_of_browsers: play(Kind {
        begin: |at, all| { all.spawn(services::browsers(at)); },
        counted: Counted(Node, HTTP2_ENDED, "reason=\"not_http2\"", 200.0),
        said: Some((Node, "gRPC connection ended")),
        ..KIND
    });
    calls_that_are_given_up: play(Kind {
        begin: |at, all| { all.spawn(services::resets(at)); },
        counted: Counted(Node, HTTP2_ENDED, "reason=\"enhance_your_calm\"", 3.0),
        said: Some((Node, "gRPC connection ended")),
        ..KIND
    });
    calls_that_never_end: play(Kind {
        begin: |at, all| { all.spawn(services::unended_calls(at)); },
        counted: Counted(Node, CALLS, "rpc_response_status_code=\"RESOURCE_EXHAUSTED\"", 50.0),
        ..KIND
    });
    questions_for_too_many: play(Kind {
        begin: |at, all| { all.spawn(services::long_questions(at)); },
        counted: Counted(Node, CALLS, "rpc_response_status_code=\"INVALID_ARGUMENT\"", 50.0),
        ..KIND
    });
    watchers_that_never_read: play(Kind {
        begin: |at, all| {
            all.spawn(peers::many_users(at));
            (0..4).for_each(|_| { all.spawn(services::silent_watcher(at)); });
        },
        counted: Counted(Node, STREAMS_REFUSED, "reason=\"ERROR_REASON_SLOW_CONSUMER\"", 4.0),
        ..KIND
    });
    subscribers_that_never_read: play(Kind {
        node_flags: &["--max-streams=10"],
        begin: |at, all| besiege(siege::Attack::SilentClients, at, all),
        counted: Counted(Node, STREAMS_REFUSED, "reason=\"ERROR_REASON_STREAM_LIMIT\"", 20.0),
        ..KIND
    });

    gateways_that_say_what_cannot_be: play(Kind {
        begin: |at, all| { all.spawn(gateways::impossible_frames(at)); },
        counted: Counted(Node, ATTACH_REFUSED, "reason=\"ERROR_REASON_FIELD_INVALID\"", 50.0),
        said: Some((Node, "attach refused")),
        ..KIND
    });
    gateways_with_anothers_id: play(Kind {
        node_flags: &["--id-in-use-wait=100ms"],
        begin: |at, all| { all.spawn(gateways::with_anothers_id(at)); },
        counted: Counted(Node, ATTACH_REFUSED, "reason=\"ERROR_REASON_GATEWAY_ID_IN_USE\"", 20.0),
        said: Some((Node, "attach refused")),
        ..KIND
    });
    many_gateways: play(Kind {
        node_flags: &["--max-gateways=10"],
        begin: |at, all| { all.spawn(gateways::many(at)); },
        counted: Counted(Node, ATTACH_REFUSED, "reason=\"ERROR_REASON_TOO_LARGE\"", 50.0),
        said: Some((Node, "attach refused")),
        ..KIND
    });
    gateways_that_never_end_their_hand_over: play(Kind {
        node_flags: &["--gateway-replay-wait=500ms"],
        begin: |at, all| { all.spawn(gateways::never_caught_up(at)); },
        counted: Counted(Node, ATTACH_REFUSED, "reason=\"ERROR_REASON_SLOW_CONSUMER\"", 3.0),
        said: Some((Node, "gateway cut off")),
        ..KIND
    });
    gateways_that_take_nothing: play(Kind {
        node_flags: &["--gateway-given-up=1500ms"],
        begin: |at, all| { all.spawn(gateways::take_nothing(at)); },
        counted: Counted(Node, ATTACH_REFUSED, "reason=\"ERROR_REASON_SLOW_CONSUMER\"", 1.0),
        said: Some((Node, "gateway cut off")),
        ..KIND
    });

    connections_to_the_probe_port: play(Kind {
        begin: |at, all| { all.spawn(services::probes(at)); },
        counted: Counted(Gateway, "teamtalk_probe_dropped_total", "reason=\"crowded\"", 200.0),
        said: Some((Gateway, "too many connections to the probe port")),
        ..KIND
    });
}

/// One that the load tool measures, too.
fn besiege(attack: siege::Attack, at: Target, all: &mut JoinSet<()>) {
    let target = siege::Target {
        pdu: [at.pdu; 2],
        grpc: at.grpc,
        address: None,
    };
    attack.begin(target, all);
}

async fn play(setup: Setup, kind: Kind) {
    let siege = Siege::begin_with(setup, kind.gateway_flags, kind.node_flags).await;
    let target = Target {
        pdu: siege.address(),
        grpc: siege.servers.grpc_address(),
        probes: siege.servers.gateway_probes(),
    };
    let begin = || {
        let mut attackers = JoinSet::new();
        (kind.begin)(target, &mut attackers);
        attackers
    };
    let Counted(at, metric, labels, times) = kind.counted;

    let mut attackers = begin();
    siege.grows(at, metric, labels, times).await;
    if let Some((at, text)) = kind.said {
        siege.assert_warns(at, text).await;
    }
    siege.goes_on().await;
    // Over from one moment to the next.
    attackers.shutdown().await;
    siege.goes_on().await;

    let attackers = begin();
    let before = siege.counter(at, metric, labels).await;
    siege.grows(at, metric, labels, before + times).await;
    siege.end(GROWTH).await;
    drop(attackers);
}
