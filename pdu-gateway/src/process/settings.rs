//! Flags of the gateway.

pub mod tls;
pub mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use ipnet::IpNet;
use route_dialect::Dialect;
use route_runtime::flags::{bytes, count, duration, duration_or_zero, node_address};
use route_runtime::http2;
use route_runtime::life::host_name;
use route_runtime::telemetry::LogArgs;

use crate::links::admission::Hosts;
use crate::links::host;
use crate::node::embedded::NodeSettings;
use crate::process::settings::tls::UpstreamTlsArgs;
use crate::process::settings::values::{
    ListenOn, NamedHosts, client_type, gateway_id, hosts_are_allowed, hosts_have_one_name,
    listen_on, listeners_differ, named_hosts, network, proxies_are_allowed,
};
use route_proto::pdu::HEADER_LEN;

const USAGE: &str = "\
pdu-gateway --embedded [OPTIONS]
       pdu-gateway --upstream <URL>... [OPTIONS]
       pdu-gateway check-config [OPTIONS]";

const UNITS: &str = "\
TIME is a whole number and ms, s, m or h. BYTES is a whole number and KiB, MiB, GiB or nothing.
In the environment, a switch is true or false, and lists are separated by commas.
With check-config, nothing is started: flags, their environment and the files that they name are checked.";

/// The legacy gateway of TeamTalk Route.
///
/// MsgServers connect to it as to a RouteServer (RouteServerIP1, RouteServerPort1), and exchange frames with it, called
/// PDUs. With --embedded it is the whole server in one process, and flags under "Node" count; with --upstream it
/// attaches to a node, which is a `route-grpc serve` that has these flags itself.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "pdu-gateway",
    version,
    override_usage = USAGE,
    after_help = UNITS,
    mut_arg("log_format", |arg| arg.env("TT_GATEWAY_LOG_FORMAT")),
    mut_arg("log_filter", |arg| arg.env("TT_GATEWAY_LOG_FILTER")),
)]
pub struct Settings {
    /// Run the node in this process too
    #[arg(long, env = "TT_GATEWAY_EMBEDDED", value_parser = BoolishValueParser::new())]
    pub embedded: bool,
    /// Address of a route-grpc, such as 127.0.0.1:50051 or https://node:50051. Every address that a name has is tried, of
    /// several names all, in an order by chance
    #[arg(
        long,
        env = "TT_GATEWAY_UPSTREAM",
        value_name = "ADDR",
        value_delimiter = ',',
        value_parser = node_address
    )]
    pub upstream: Vec<String>,
    /// Address for MsgServers; may be given several times. With a name, it is for that MsgServer alone
    #[arg(
        long,
        env = "TT_GATEWAY_LISTEN",
        value_name = "ADDR[=NAME]",
        value_delimiter = ',',
        value_parser = listen_on,
        default_value = "0.0.0.0:8200"
    )]
    pub listen: Vec<ListenOn>,
    /// Address for /metrics, /livez, /readyz
    // The alias is for set-ups from before the admin port had its own.
    #[arg(
        long,
        alias = "admin-listen",
        env = "TT_GATEWAY_PROBE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9464"
    )]
    pub probe_listen: SocketAddr,
    /// Address for gRPC, with --embedded
    #[arg(
        long,
        env = "TT_GATEWAY_GRPC_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub grpc_listen: SocketAddr,
    /// Stable name of this gateway, of no other one, and the same after a restart: several nodes know by it whom they wait for
    /// [default: host name and PDU port]
    #[arg(long, env = "TT_GATEWAY_GATEWAY_ID", value_name = "ID", value_parser = gateway_id)]
    pub gateway_id: Option<String>,
    /// Threads that run the process; one forwards millions of PDUs a second
    #[arg(
        long,
        env = "TT_GATEWAY_WORKER_THREADS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1"
    )]
    pub worker_threads: usize,
    /// How long the node may be away before MsgServers are disconnected
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_LOST", value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub upstream_lost: Duration,
    /// From SIGTERM to the exit at the latest
    #[arg(long, env = "TT_GATEWAY_SHUTDOWN_DEADLINE", value_name = "TIME", value_parser = duration, default_value = "25s")]
    pub shutdown_deadline: Duration,
    /// Over what time the connections of MsgServers are closed at SIGTERM, so that they do not all come back at once
    #[arg(long, env = "TT_GATEWAY_CLOSE_WINDOW", value_name = "TIME", value_parser = duration, default_value = "2s")]
    pub close_window: Duration,
    /// At SIGTERM, how long a node that is away is waited for if it has not confirmed everything, within the shutdown deadline;
    /// 0s: not at all
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_DRAIN_WAIT", value_name = "TIME", value_parser = duration_or_zero, default_value = "10s")]
    pub upstream_drain_wait: Duration,
    /// To connect to a node, and for the hand-shake of TLS; then the next address is tried
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_CONNECT_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "3s")]
    pub upstream_connect_timeout: Duration,
    /// To be welcomed by a node, from the connecting on; then the next one is tried. Has to be more than the node's
    /// --id-in-use-wait
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_WELCOME_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub upstream_welcome_timeout: Duration,
    /// Longest pause before all addresses are tried again. Has to be less than the node's --newcomer-wait
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_BACK_OFF", value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub upstream_back_off: Duration,
    /// A node that has promised to speak, as the leader of several does, is left when nothing came from it for so long; at least
    /// twice what it has promised
    #[arg(long, env = "TT_GATEWAY_NODE_SILENCE", value_name = "TIME", value_parser = duration, default_value = "3s")]
    pub node_silence: Duration,
    /// A node that was silent for so long is asked whether it is there
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_KEEPALIVE_INTERVAL", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub upstream_keepalive_interval: Duration,
    /// It has so long to answer; then the next one is tried
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_KEEPALIVE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "4s")]
    pub upstream_keepalive_timeout: Duration,
    /// What may come from the node before it is read; then the node waits
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_STREAM_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "16MiB")]
    pub upstream_stream_bytes: u32,
    /// Networks whose MsgServers may connect; 0.0.0.0/0 and ::/0 for all
    #[arg(
        long,
        env = "TT_GATEWAY_ALLOW_CIDR",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network,
        default_value = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
        help_heading = "MsgServers"
    )]
    pub allow_cidr: Vec<IpNet>,
    /// Tells a MsgServer by its addresses, so that its connections are known to be of one; may be given several times. A
    /// name with --listen goes before
    #[arg(
        long,
        env = "TT_GATEWAY_MSG_SERVER",
        value_name = "NAME=IP[,IP]",
        value_parser = named_hosts,
        help_heading = "MsgServers"
    )]
    pub msg_server: Vec<NamedHosts>,
    /// Networks whose proxies say by the PROXY protocol, versions 1 and 2, whose connection they pass on; each connection from
    /// there has to begin with its header. They have to be in --allow-cidr, and so do the MsgServers
    #[arg(
        long,
        env = "TT_GATEWAY_PROXY_PROTOCOL_FROM",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network,
        help_heading = "MsgServers"
    )]
    pub proxy_protocol_from: Vec<IpNet>,
    /// Connections of MsgServers in all; fewer, if the process may not have that many files open
    #[arg(
        long,
        env = "TT_GATEWAY_MAX_CONNECTIONS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "4096",
        help_heading = "MsgServers"
    )]
    pub max_connections: usize,
    /// Connections from one address
    #[arg(
        long,
        env = "TT_GATEWAY_MAX_CONNECTIONS_PER_SOURCE",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1024",
        help_heading = "MsgServers"
    )]
    pub max_connections_per_source: usize,
    /// Longest PDU; a longer one ends its connection
    #[arg(long, env = "TT_GATEWAY_MAX_PDU_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "16MiB", help_heading = "MsgServers")]
    pub max_pdu_bytes: u32,
    /// What may wait to be written to one MsgServer; beyond, it is disconnected
    #[arg(long, env = "TT_GATEWAY_LINK_QUEUE_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "64MiB", help_heading = "MsgServers")]
    pub link_queue_bytes: u32,
    /// What one MsgServer may have sent without a confirmation by the node, before it is no longer read from
    #[arg(long, env = "TT_GATEWAY_WINDOW_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "8MiB", help_heading = "MsgServers")]
    pub window_bytes: u32,
    /// The same for all MsgServers together
    #[arg(long, env = "TT_GATEWAY_WINDOW_TOTAL_BYTES", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "256MiB", help_heading = "MsgServers")]
    pub window_total_bytes: u32,
    /// What this process may hold for others: what waits to be written, what is unconfirmed, PDUs that have begun; of an embedded
    /// node, too. At four fifths, those who feed the fullest queues pause and no long PDU is read before there is room; who
    /// keeps one unfinished while others wait is cut off, and close to the whole the connection that holds most [default:
    /// 80 % of what the container may use; without a container, no limit]
    #[arg(long, env = "TT_GATEWAY_MEMORY_LIMIT", value_name = "BYTES", value_parser = bytes::<u64>, help_heading = "MsgServers")]
    pub memory_limit: Option<u64>,
    /// A MsgServer from which nothing came for so long is disconnected
    #[arg(long, env = "TT_GATEWAY_IDLE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "MsgServers")]
    pub idle_timeout: Duration,
    /// A heartbeat is sent to a MsgServer that was sent nothing for so long
    #[arg(long, env = "TT_GATEWAY_HEARTBEAT_INTERVAL", value_name = "TIME", value_parser = duration, default_value = "5s", help_heading = "MsgServers")]
    pub heartbeat_interval: Duration,
    /// A MsgServer that takes nothing of what waits for it for so long is disconnected
    #[arg(long, env = "TT_GATEWAY_WRITE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "MsgServers")]
    pub write_timeout: Duration,
    /// A connection's first PDU has so long from its first byte to its last, a later one six times as long, and a long one longer
    /// by --pdu-rate; a proxy's connection has as long to its header
    #[arg(long, env = "TT_GATEWAY_PDU_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "MsgServers")]
    pub pdu_timeout: Duration,
    /// Bytes a second at which a long PDU has to come, at least
    #[arg(long, env = "TT_GATEWAY_PDU_RATE", value_name = "BYTES", value_parser = bytes::<u32>, default_value = "64KiB", help_heading = "MsgServers")]
    pub pdu_rate: u32,
    /// A MsgServer whose host does not answer for so long is disconnected
    #[arg(long, env = "TT_GATEWAY_HOST_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "15s", help_heading = "MsgServers")]
    pub host_timeout: Duration,
    /// A MsgServer that is disconnected at SIGTERM has so long to close, too, and is read until then; one that is disconnected
    /// for a bad frame, to take what is due to it
    #[arg(long, env = "TT_GATEWAY_CLOSE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "5s", help_heading = "MsgServers")]
    pub close_timeout: Duration,
    /// A status query that the node has not answered for so long is given up
    #[arg(long, env = "TT_GATEWAY_QUERY_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "MsgServers")]
    pub query_timeout: Duration,
    /// Senders of which a connection remembers what it was written last, for nothing to come twice; beyond, those that have been
    /// silent longest are forgotten [default: twice --max-connections]
    #[arg(
        long,
        env = "TT_GATEWAY_REMEMBERED_ORIGINS",
        value_name = "COUNT",
        value_parser = count,
        help_heading = "MsgServers"
    )]
    pub remembered_origins: Option<usize>,
    /// What the MsgServers here speak: teamtalk, proto3, 0x08xx, or a file that says what a fork does differently
    #[arg(long, env = "TT_GATEWAY_DIALECT", value_name = "NAME|FILE", value_parser = Dialect::named, default_value = "teamtalk", help_heading = "MsgServers")]
    pub dialect: Dialect,
    /// Client types beside those of the dialect, such as 0x13,0x21; bit 0x10 makes a client mobile
    #[arg(long, env = "TT_GATEWAY_CLIENT_TYPES", value_name = "TYPES", value_parser = client_type, value_delimiter = ',', help_heading = "MsgServers")]
    pub client_types: Vec<u8>,
    /// Reads the dialect as proto3: what is missing is 0, and enums are open
    #[arg(long, env = "TT_GATEWAY_LENIENT", value_parser = BoolishValueParser::new(), help_heading = "MsgServers")]
    pub lenient: bool,
    /// How nodes are connected to.
    #[command(flatten)]
    pub upstream_tls: UpstreamTlsArgs,
    /// How the embedded node routes and what it may use.
    #[command(flatten)]
    pub node: NodeSettings,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
    /// Environment names that were set for a node, while none runs here.
    #[arg(skip)]
    pub ignored: Vec<String>,
}

impl Settings {
    /// Reads the command line, then the environment. Fails also if the flags do not fit together.
    pub fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let matches = Settings::command().try_get_matches_from(arguments)?;
        let mut settings = Settings::from_arg_matches(&matches)?;
        let wrong = |problem| Settings::command().error(ErrorKind::ValueValidation, problem);
        settings.check().map_err(wrong)?;
        if !settings.embedded {
            settings.ignored = without_node(&matches).map_err(wrong)?;
        }
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        listeners_differ(&self.listen)?;
        hosts_have_one_name(&self.msg_server)?;
        hosts_are_allowed(&self.msg_server, &self.allow_cidr)?;
        proxies_are_allowed(&self.proxy_protocol_from, &self.allow_cidr)?;
        // Not a group of clap's, for which TT_GATEWAY_EMBEDDED=false would count as given.
        match (self.embedded, self.upstream.is_empty()) {
            (false, true) => {
                return Err("either --embedded or --upstream <URL> is needed: \
                    does the node run in this process, or where?"
                    .to_owned());
            }
            (true, false) => {
                return Err("--embedded and --upstream cannot be used together".to_owned());
            }
            (true, true) => self.check_embedded()?,
            (false, false) => self.check_upstream()?,
        }
        if (self.max_pdu_bytes as usize) < HEADER_LEN {
            return Err(format!(
                "--max-pdu-bytes has to be at least {HEADER_LEN}, a header"
            ));
        }
        if self.link_queue_bytes < self.max_pdu_bytes {
            return Err(
                "--link-queue-bytes has to be at least --max-pdu-bytes, for one PDU to fit"
                    .to_owned(),
            );
        }
        if self.window_total_bytes < self.window_bytes {
            return Err("--window-total-bytes has to be at least --window-bytes".to_owned());
        }
        let least = u64::from(self.window_total_bytes)
            + u64::from(self.link_queue_bytes)
            + u64::from(self.max_pdu_bytes);
        if self.memory_limit.is_some_and(|limit| limit < least) {
            return Err(
                "--memory-limit has to be at least --window-total-bytes, --link-queue-bytes and --max-pdu-bytes \
                together, or nobody could use what these allow"
                    .to_owned(),
            );
        }
        if self.host_timeout < host::SHORTEST_TIMEOUT {
            return Err(format!(
                "--host-timeout has to be at least {:?}, for a packet may have to be sent again a few times",
                host::SHORTEST_TIMEOUT
            ));
        }
        Ok(())
    }

    fn check_embedded(&self) -> Result<(), String> {
        if let Some(flag) = self.upstream_tls.given() {
            return Err(format!(
                "{flag} is for nodes at --upstream; the embedded one is in this process"
            ));
        }
        self.node.check()?;
        if self.window_bytes as usize <= self.node.patient_bytes {
            return Err(
                "--window-bytes has to be more than --patient-bytes, or a busy MsgServer waits \
                for every gateway that is away"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_upstream(&self) -> Result<(), String> {
        let urls = self.upstream_urls();
        let tls = self.upstream_tls.client();
        tls.check(urls.iter().map(String::as_str))?;
        if self.upstream_welcome_timeout < self.upstream_connect_timeout {
            return Err(
                "--upstream-welcome-timeout has to be at least --upstream-connect-timeout, \
                which is a part of it"
                    .to_owned(),
            );
        }
        if self.upstream_back_off > self.upstream_lost {
            return Err(
                "--upstream-back-off has to be at most --upstream-lost, or a node that comes back is not found in time"
                    .to_owned(),
            );
        }
        if self.remembered_origins() < self.max_connections {
            return Err(
                "--remembered-origins has to be at least --max-connections, for each of them may send"
                    .to_owned(),
            );
        }
        http2::keepalive(
            "--upstream-keepalive-interval",
            self.upstream_keepalive_interval,
        )?;
        http2::window("--upstream-stream-bytes", self.upstream_stream_bytes)
    }

    /// Where nodes are; without a scheme, by TLS if --upstream-ca is given.
    pub fn upstream_urls(&self) -> Vec<String> {
        let tls = self.upstream_tls.client();
        self.upstream
            .iter()
            .map(|address| tls.url(address))
            .collect()
    }

    /// Senders that a connection remembers: as it was set, or all that may be connected, and as many that were.
    pub fn remembered_origins(&self) -> usize {
        let twice = self.max_connections.saturating_mul(2);
        self.remembered_origins.unwrap_or(twice)
    }

    /// Hosts of MsgServers that have names.
    pub fn hosts(&self) -> Hosts {
        let hosts = self.msg_server.iter().flat_map(|named| named.0.clone());
        hosts.collect()
    }

    /// The gateway's id: as it was set, or from the host name and the first PDU address as bound.
    pub fn id(&self, bound: SocketAddr) -> String {
        let from_host = || format!("{}:{}", host_name(), bound.port());
        self.gateway_id.clone().unwrap_or_else(from_host)
    }
}

/// Whoever gives a flag of the node to a gateway without one believes that it has an effect. The environment may be one for
/// both: names that are set there for nothing are returned.
fn without_node(matches: &ArgMatches) -> Result<Vec<String>, String> {
    let node = NodeSettings::augment_args(Command::new("node"));
    let of_node = node.get_arguments().map(|arg| arg.get_id().as_str());
    let command = Settings::command();
    let mut ignored = Vec::new();
    for arg in of_node.chain(["grpc_listen"]) {
        let flag = || format!("--{}", arg.replace('_', "-"));
        match matches.value_source(arg) {
            Some(ValueSource::CommandLine) => {
                return Err(format!(
                    "{} is for a node in this process (--embedded); the node at --upstream has flags of its own",
                    flag()
                ));
            }
            Some(ValueSource::EnvVariable) => {
                let mut arguments = command.get_arguments();
                let found = arguments.find(|known| known.get_id() == arg);
                let name = found.and_then(|arg| arg.get_env());
                ignored.push(name.map_or_else(flag, |name| name.to_string_lossy().into_owned()));
            }
            Some(_) | None => {}
        }
    }
    Ok(ignored)
}

#[cfg(test)]
mod tests;
