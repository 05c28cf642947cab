//! Flags of the node.

pub mod engine;
pub mod security;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches, ValueEnum};
use route_core::{LogLimits, Settings};
use route_runtime::budget::Needs;
use route_runtime::flags::{bytes, bytes_or_zero, count, duration, duration_or_zero};
use route_runtime::http2;
use route_runtime::listen::local::LocalAddress;

use crate::gateways::MAX_GATEWAYS;
use crate::limits::{ATTACH_OVERHEAD_BYTES, MAX_REQUEST_BYTES, ROUTED_LEAST_BYTES};
use crate::settings::security::SecuritySettings;

/// About what a session takes.
const SESSION_BYTES: usize = 70;

/// How the node routes and what it may use. `pdu-gateway --embedded` has the same flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeSettings {
    /// Who gets a PDU: the links whose MsgServer needs it, or all of them as the C++ RouteServer
    /// does
    #[arg(long, env = "TT_ROUTE_FAN_OUT", value_enum, default_value_t = FanOut::Directed)]
    pub fan_out: FanOut,
    /// Address for AdminService: IP:PORT, unix:PATH, or unix:@NAME, a socket in no folder; unless it is set,
    /// unix:@teamtalk-route-admin-50051, with the port of the public API
    #[arg(long, env = "TT_ROUTE_ADMIN_GRPC_LISTEN", value_name = "ADDR", value_parser = LocalAddress::parse)]
    pub admin_grpc_listen: Option<LocalAddress>,
    /// Address for gateways alone, so that no service can keep them out; unless it is set, they attach at the public port
    #[arg(long, env = "TT_ROUTE_ATTACH_LISTEN", value_name = "ADDR")]
    pub attach_listen: Option<SocketAddr>,
    /// Address for grpc.health.v1 alone, without TLS, for probes that know none
    #[arg(long, env = "TT_ROUTE_HEALTH_LISTEN", value_name = "ADDR")]
    pub health_listen: Option<SocketAddr>,
    /// Who may do what.
    #[command(flatten)]
    pub security: SecuritySettings,
    /// How long the links of a gateway stay when its stream breaks
    #[arg(long, env = "TT_ROUTE_DETACH_GRACE", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub detach_grace: Duration,
    /// How long a MsgServer that has turned to another gateway waits for what the gateway that it
    /// has left, and that has closed its connection to the node, may give back; 0s: not at all
    #[arg(long, env = "TT_ROUTE_DEPARTED_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "1s")]
    pub departed_wait: Duration,
    /// How long a new node waits for the gateways of its predecessor before it routes and answers,
    /// from the first that comes on; for that one, 10s longer; 0s: not at all
    #[arg(long, env = "TT_ROUTE_COLD_START_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "10s")]
    pub cold_start_wait: Duration,
    /// How long a new node to which only new gateways have come waits for others, which may have
    /// had a predecessor of it; 0s: not at all, as an embedded node
    #[arg(long, env = "TT_ROUTE_NEWCOMER_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "1500ms")]
    pub newcomer_wait: Duration,
    /// What a new node holds of one gateway until then; beyond, it reads no more of it. Has to be
    /// more than the gateway's --window-total-bytes
    #[arg(long, env = "TT_ROUTE_COLD_START_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "320MiB")]
    pub cold_start_bytes: usize,
    /// How long a call waits for a node that does not answer yet; then it fails with NOT_SYNCED.
    /// 0s: at once
    #[arg(long, env = "TT_ROUTE_CALL_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "2s")]
    pub call_wait: Duration,
    /// How long a gateway that was started anew waits for its old stream to break; then it is
    /// refused. 0s: at once
    #[arg(long, env = "TT_ROUTE_ID_IN_USE_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "2s")]
    pub id_in_use_wait: Duration,
    /// A gateway that has taken nothing of what it was sent for so long may be gone: seats whose
    /// successor it may have outlast --seat-hold
    #[arg(long, env = "TT_ROUTE_GATEWAY_SILENCE", value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub gateway_silence: Duration,
    /// One that has taken nothing for so long, though something waits, is cut off: longer than a process
    /// or its host may stand still, shorter than a host that has vanished is noticed after
    #[arg(long, env = "TT_ROUTE_GATEWAY_GIVEN_UP", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub gateway_given_up: Duration,
    /// How long a gateway may take to send again what it had read before, tables included; then its
    /// stream is ended. A million users take a second
    #[arg(long, env = "TT_ROUTE_GATEWAY_REPLAY_WAIT", value_name = "TIME", value_parser = duration, default_value = "1m")]
    pub gateway_replay_wait: Duration,
    /// Gateways that the node has at a time. A site has two or three; each may fill
    /// --gateway-queue-bytes
    #[arg(
        long,
        env = "TT_ROUTE_MAX_GATEWAYS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "64"
    )]
    pub max_gateways: usize,
    /// How long a MsgServer's users stay when its claimed connection closes while another one
    /// lives; three times that if it was the only one and its gateway stops; 0s: not at all
    #[arg(long, env = "TT_ROUTE_SEAT_HOLD", value_name = "TIME", value_parser = duration_or_zero, default_value = "2s")]
    pub seat_hold: Duration,
    /// What is held for such a MsgServer; beyond, deliveries are dropped and counted
    #[arg(long, env = "TT_ROUTE_SEAT_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "64MiB")]
    pub seat_bytes: usize,
    /// What may wait for one gateway; beyond, its stream is ended
    #[arg(long, env = "TT_ROUTE_GATEWAY_QUEUE_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "256MiB")]
    pub gateway_queue_bytes: usize,
    /// What of one gateway may wait for others that are away; beyond, it is confirmed although this
    /// node alone holds it. Has to be less than the gateway's --window-bytes, or its MsgServers
    /// wait until the others are back
    #[arg(long, env = "TT_ROUTE_PATIENT_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "4MiB")]
    pub patient_bytes: usize,
    /// Whether MsgServers are told of users that vanish with a lost connection or gateway; the C++
    /// RouteServer does not
    #[arg(long, env = "TT_ROUTE_NOTIFY_ON_LOSS", value_enum, default_value_t = NotifyOnLoss::None)]
    pub notify_on_loss: NotifyOnLoss,
    /// Sessions (a user's clients of one type) that are kept of one connection of a MsgServer. One
    /// that reports more gets everything that is routed. A gateway keeps 1000000 for a new node
    #[arg(
        long,
        env = "TT_ROUTE_MAX_SESSIONS_PER_LINK",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1000000"
    )]
    pub max_sessions_per_link: usize,
    /// The same of all connections together; about 70 bytes each
    #[arg(
        long,
        env = "TT_ROUTE_MAX_SESSIONS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "2500000"
    )]
    pub max_sessions: usize,
    /// Longest PDU, a frame of the MsgServers' protocol, that gateways may send up or services
    /// publish
    #[arg(long, env = "TT_ROUTE_PDU_LIMIT", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "16MiB")]
    pub pdu_limit: usize,
    /// Longest request to publish or to subscribe. Longer than the messages that services write, and
    /// short enough for many to be in memory
    #[arg(long, env = "TT_ROUTE_PUBLISH_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "1MiB")]
    pub publish_bytes: usize,
    /// What requests and gateways' messages that have come in part may hold, of all connections together;
    /// beyond, more requests are refused and gateways wait. Many times what services send at once
    #[arg(long, env = "TT_ROUTE_UNFINISHED_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "128MiB")]
    pub unfinished_bytes: usize,
    /// Events kept for subscribers that come back or fall behind
    #[arg(
        long,
        env = "TT_ROUTE_LOG_EVENTS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "65536"
    )]
    pub log_events: usize,
    /// Bytes kept for them
    #[arg(long, env = "TT_ROUTE_LOG_BYTES", value_name = "BYTES", value_parser = bytes::<usize>, default_value = "32MiB")]
    pub log_bytes: usize,
    /// Bytes kept to say where PDUs went that were routed lately, 60 for a message; 0: none
    #[arg(long, env = "TT_ROUTE_ROUTED_BYTES", value_name = "BYTES", value_parser = bytes_or_zero::<usize>, default_value = "8MiB")]
    pub routed_bytes: usize,
    /// Streams (watch, subscribe) that may be open at a time
    #[arg(
        long,
        env = "TT_ROUTE_MAX_STREAMS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1000"
    )]
    pub max_streams: usize,
    /// Age at which such a stream is asked to come back, less up to a fifth by chance
    #[arg(long, env = "TT_ROUTE_MAX_STREAM_AGE", value_name = "TIME", value_parser = duration, default_value = "30m")]
    pub max_stream_age: Duration,
    /// Connections to the gRPC port; fewer, if the process may not have that many files open
    #[arg(
        long,
        env = "TT_ROUTE_MAX_GRPC_CONNECTIONS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1024"
    )]
    pub max_grpc_connections: usize,
    /// A peer that was silent for so long is asked whether it is there
    #[arg(long, env = "TT_ROUTE_GRPC_KEEPALIVE_INTERVAL", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub grpc_keepalive_interval: Duration,
    /// It has so long to answer; then its connection is closed
    #[arg(long, env = "TT_ROUTE_GRPC_KEEPALIVE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "4s")]
    pub grpc_keepalive_timeout: Duration,
    /// What may come on one stream before it is read, and four times that on one connection; then
    /// the peer waits
    #[arg(long, env = "TT_ROUTE_GRPC_STREAM_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "16MiB")]
    pub grpc_stream_bytes: u32,
    /// Over what time open streams are ended when the node stops; 0s: all at once
    #[arg(long, env = "TT_ROUTE_DRAIN_WINDOW", value_name = "TIME", value_parser = duration_or_zero, default_value = "2s")]
    pub drain_window: Duration,
}

/// Who gets a PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FanOut {
    /// Exactly the links whose MsgServer would do something with it
    Directed,
    /// Every link but the sender's, as the C++ RouteServer does
    Broadcast,
}

/// Of whom MsgServers are told when a connection or a gateway is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NotifyOnLoss {
    /// Of nobody
    None,
    /// Of every user that legacy clients saw online
    All,
}

impl NodeSettings {
    /// What is wrong with the flags together.
    pub fn check(&self) -> Result<(), String> {
        for (flag, bytes) in [
            ("--gateway-queue-bytes", self.gateway_queue_bytes),
            ("--cold-start-bytes", self.cold_start_bytes),
            ("--seat-bytes", self.seat_bytes),
        ] {
            if bytes < self.pdu_limit {
                return Err(format!(
                    "{flag} has to be at least --pdu-limit, for one PDU to fit"
                ));
            }
        }
        if self.patient_bytes > self.gateway_queue_bytes / 2 {
            return Err(
                "--patient-bytes has to be at most half of --gateway-queue-bytes, \
                for no more is confirmed of what waits for a gateway that is away"
                    .to_owned(),
            );
        }
        let longest = self.attach_message_bytes().max(self.publish_bytes);
        if self.unfinished_bytes < longest.max(MAX_REQUEST_BYTES) {
            return Err(
                "--unfinished-bytes has to be at least --publish-bytes, and --pdu-limit with 1MiB more, \
                for one message to fit"
                    .to_owned(),
            );
        }
        if self.max_gateways > MAX_GATEWAYS {
            return Err(format!("--max-gateways has to be at most {MAX_GATEWAYS}"));
        }
        if (1..ROUTED_LEAST_BYTES).contains(&self.routed_bytes) {
            return Err("--routed-bytes has to be 0, or at least 64KiB".to_owned());
        }
        if self.gateway_given_up <= self.gateway_silence {
            return Err(
                "--gateway-given-up has to be more than --gateway-silence, which comes before"
                    .to_owned(),
            );
        }
        // It is looked for once a second.
        if self.gateway_silence < Duration::from_secs(1) {
            return Err("--gateway-silence has to be at least 1s".to_owned());
        }
        self.security.check()?;
        http2::keepalive("--grpc-keepalive-interval", self.grpc_keepalive_interval)?;
        http2::window("--grpc-stream-bytes", self.grpc_stream_bytes)
    }

    /// What all this may take of the process's memory.
    pub fn needs(&self) -> Needs {
        let waits = [
            self.log_bytes,
            self.routed_bytes,
            self.gateway_queue_bytes,
            self.seat_bytes,
            self.unfinished_bytes,
        ];
        Needs {
            waits: waits.iter().map(|bytes| *bytes as u64).sum(),
            tables: (self.max_sessions * SESSION_BYTES) as u64,
        }
    }

    /// What concerns the core.
    pub(crate) fn core(&self) -> Settings {
        Settings {
            fan_out: match self.fan_out {
                FanOut::Directed => route_core::FanOut::Directed,
                FanOut::Broadcast => route_core::FanOut::Broadcast,
            },
            seat_hold: self.seat_hold,
            seat_bytes: self.seat_bytes,
            notify_on_loss: match self.notify_on_loss {
                NotifyOnLoss::None => route_core::NotifyOnLoss::None,
                NotifyOnLoss::All => route_core::NotifyOnLoss::All,
            },
            link_sessions: u32::try_from(self.max_sessions_per_link).unwrap_or(u32::MAX),
            sessions: u32::try_from(self.max_sessions).unwrap_or(u32::MAX),
            ..Settings::default()
        }
    }

    /// What concerns the event log.
    pub(crate) fn log(&self) -> LogLimits {
        LogLimits {
            events: self.log_events,
            bytes: self.log_bytes,
        }
    }

    /// Longest Attach message, bytes.
    pub(crate) fn attach_message_bytes(&self) -> usize {
        self.pdu_limit.saturating_add(ATTACH_OVERHEAD_BYTES)
    }
}

impl Default for NodeSettings {
    /// The flags' defaults.
    fn default() -> Self {
        let flags = Self::augment_args(Command::new("node").no_binary_name(true));
        let defaults = flags
            .mut_args(|flag| flag.env(None::<&str>))
            .get_matches_from([""; 0]);
        Self::from_arg_matches(&defaults).expect("every flag has a default")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        node: NodeSettings,
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let check = |flags: &[&str]| Cli::parse_from(["node"].iter().chain(flags)).node.check();

        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["--routed-bytes=0"]), Ok(()));
        for (flags, named) in [
            (
                ["--patient-bytes=129MiB"].as_slice(),
                "--gateway-queue-bytes",
            ),
            (&["--cold-start-bytes=15MiB"], "--pdu-limit"),
            (&["--gateway-queue-bytes=15MiB"], "--pdu-limit"),
            (&["--grpc-keepalive-interval=999ms"], "at least 1s"),
            (&["--gateway-silence=999ms"], "at least 1s"),
            (&["--gateway-given-up=1s"], "--gateway-silence"),
            (&["--unfinished-bytes=16MiB"], "--pdu-limit"),
            (&["--routed-bytes=1"], "at least 64KiB"),
            (&["--max-gateways=1025"], "at most 1024"),
            (&["--grpc-stream-bytes=1KiB"], "at least 64KiB"),
            (&["--grpc-stream-bytes=3GiB"], "less than 2GiB"),
        ] {
            let problem = check(flags).unwrap_err();
            let (flag, _) = flags[0].split_once('=').unwrap();
            assert!(
                problem.starts_with(flag) && problem.contains(named),
                "{problem}"
            );
        }
    }
}
