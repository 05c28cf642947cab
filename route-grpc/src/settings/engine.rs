//! Flags that make a node one of several: what holds the record of who leads, and how others reach this node.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use route_runtime::life::host_name;
use route_runtime::tls::client::{ClientTls, Names};
use tonic::transport::Uri;

use crate::engine::nats::{Login, NatsSettings, TlsFiles};
use crate::engine::record::Author;

/// The site of nodes that are told no other.
const SITE: &str = "default";

/// Longest name of a site or a node, bytes.
const LONGEST_NAME: usize = 64;

/// The engine, and how it and this node are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Several nodes")]
pub struct EngineSettings {
    /// What says which of several nodes leads: nothing, where there is one node, or NATS
    #[arg(long, env = "TT_ROUTE_ENGINE", value_enum, default_value_t = EngineKind::None)]
    pub engine: EngineKind,
    /// A server of NATS, nats://HOST:PORT or tls://HOST:PORT; may be given several times
    #[arg(
        long,
        env = "TT_ROUTE_NATS_URL",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub nats_url: Vec<String>,
    /// Credentials for NATS: a file with a JWT and a seed. Read again for each connection, as the files below
    #[arg(long, env = "TT_ROUTE_NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// User for NATS
    #[arg(long, env = "TT_ROUTE_NATS_USER", value_name = "USER")]
    pub nats_user: Option<String>,
    /// The user's password
    #[arg(long, env = "TT_ROUTE_NATS_PASSWORD_FILE", value_name = "FILE")]
    pub nats_password_file: Option<PathBuf>,
    /// Token for NATS
    #[arg(long, env = "TT_ROUTE_NATS_TOKEN_FILE", value_name = "FILE")]
    pub nats_token_file: Option<PathBuf>,
    /// Those who sign the certificates of NATS' servers. With it, TLS is spoken [default of tls:// URLs: whom the system
    /// trusts]
    #[arg(long, env = "TT_ROUTE_NATS_TLS_CA", value_name = "FILE")]
    pub nats_tls_ca: Option<PathBuf>,
    /// This node's certificate for NATS
    #[arg(long, env = "TT_ROUTE_NATS_TLS_CERT", value_name = "FILE")]
    pub nats_tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "TT_ROUTE_NATS_TLS_KEY", value_name = "FILE")]
    pub nats_tls_key: Option<PathBuf>,
    /// Name of the site, the same at all its nodes: letters, digits, _ and - [default: default]
    #[arg(long, env = "TT_ROUTE_SITE", value_name = "NAME")]
    pub site: Option<String>,
    /// Name of this node, for people [default: the host's name]
    #[arg(long, env = "TT_ROUTE_NODE_ID", value_name = "NAME")]
    pub node_id: Option<String>,
    /// URL at which the other nodes reach --listen of this one, http://HOST:PORT or https://HOST:PORT
    #[arg(long, env = "TT_ROUTE_ADVERTISE_API", value_name = "URL")]
    pub advertise_api: Option<String>,
    /// URL at which gateways reach this node, if it is another one
    #[arg(long, env = "TT_ROUTE_ADVERTISE_ATTACH", value_name = "URL")]
    pub advertise_attach: Option<String>,
    /// Certificates of those who sign the other nodes' certificates, in PEM: nodes connect to each other by TLS. Read anew for
    /// each connection, as the files below
    #[arg(long, env = "TT_ROUTE_PEER_CA", value_name = "FILE")]
    pub peer_ca: Option<PathBuf>,
    /// This node's certificate for the other nodes, which gives it the role node there
    #[arg(long, env = "TT_ROUTE_PEER_CERT", value_name = "FILE")]
    pub peer_cert: Option<PathBuf>,
    /// The key of --peer-cert, in PEM
    #[arg(long, env = "TT_ROUTE_PEER_KEY", value_name = "FILE")]
    pub peer_key: Option<PathBuf>,
    /// The name that the other nodes' certificates have [default: the host of --advertise-api of each]
    #[arg(long, env = "TT_ROUTE_PEER_SERVER_NAME", value_name = "NAME")]
    pub peer_server_name: Option<String>,
    /// A token to show to the other nodes; without TLS only to one on this host
    #[arg(long, env = "TT_ROUTE_PEER_TOKEN_FILE", value_name = "FILE")]
    pub peer_token_file: Option<PathBuf>,
}

/// How the flags towards other nodes are called.
const PEERS: Names = Names {
    ca: "--peer-ca",
    certificate: "--peer-cert",
    key: "--peer-key",
    server_name: "--peer-server-name",
    token_file: "--peer-token-file",
};

/// What says which of several nodes leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Nothing: there is one node, and it leads
    #[default]
    None,
    /// NATS, with JetStream
    Nats,
}

/// Flags that are of no use without another one.
const NEEDS: [(&str, &str); 6] = [
    ("--engine nats", "--nats-url"),
    ("--engine nats", "--advertise-api"),
    ("--nats-user", "--nats-password-file"),
    ("--nats-password-file", "--nats-user"),
    ("--nats-tls-key", "--nats-tls-cert"),
    ("--nats-tls-cert", "--nats-tls-key"),
];

impl EngineSettings {
    /// What is wrong with the flags together. Reads no file.
    ///
    /// # Errors
    ///
    /// A sentence that says what to mend.
    pub fn check(&self) -> Result<(), String> {
        let given = self.given();
        if self.engine == EngineKind::None {
            return match given.first() {
                Some(flag) => Err(format!(
                    "{flag} needs --engine nats: without an engine there is one node"
                )),
                None => Ok(()),
            };
        }
        for (flag, other) in NEEDS {
            let is_given = flag == "--engine nats" || given.contains(&flag);
            if is_given && !given.contains(&other) {
                return Err(format!("{flag} needs {other}"));
            }
        }
        if given.contains(&"--nats-tls-cert") && !given.contains(&"--nats-tls-ca") {
            return Err("--nats-tls-cert needs --nats-tls-ca".to_owned());
        }
        let logins = ["--nats-creds", "--nats-user", "--nats-token-file"];
        let mut logins = logins.into_iter().filter(|flag| given.contains(flag));
        if let (Some(one), Some(other)) = (logins.next(), logins.next()) {
            return Err(format!(
                "{one} and {other} contradict each other: leave one out"
            ));
        }
        check_name("--site", self.site())?;
        if let Some(name) = &self.node_id {
            check_name("--node-id", name)?;
        }
        for (flag, url) in [
            ("--advertise-api", &self.advertise_api),
            ("--advertise-attach", &self.advertise_attach),
        ] {
            url.as_ref().map_or(Ok(()), |url| check_url(flag, url))?;
        }
        self.peers().check(self.advertise_api.as_deref())?;
        let servers = self.nats_settings("").servers();
        servers
            .map(|_| ())
            .map_err(|told| format!("--nats-url: {told}"))
    }

    /// How the other nodes are connected to.
    pub fn peers(&self) -> ClientTls {
        ClientTls {
            names: PEERS,
            ca: self.peer_ca.clone(),
            certificate: self.peer_cert.clone(),
            key: self.peer_key.clone(),
            server_name: self.peer_server_name.clone(),
            token_file: self.peer_token_file.clone(),
        }
    }

    /// How NATS is reached, if it is the engine.
    pub fn nats(&self) -> Option<NatsSettings> {
        match self.engine {
            EngineKind::None => None,
            EngineKind::Nats => Some(self.nats_settings(&format!("route-grpc {}", self.name()))),
        }
    }

    /// How others reach this node; `version` is its program's.
    pub fn author(&self, version: &str) -> Author {
        let url = |url: &Option<String>| url.clone().unwrap_or_default();
        let api_url = url(&self.advertise_api);
        let attach_url = self.advertise_attach.clone();
        Author {
            node_id: self.name(),
            attach_url: attach_url.unwrap_or_else(|| api_url.clone()),
            api_url,
            version: version.to_owned(),
        }
    }

    fn site(&self) -> &str {
        self.site.as_deref().unwrap_or(SITE)
    }

    /// This node's name.
    fn name(&self) -> String {
        self.node_id.clone().unwrap_or_else(host_name)
    }

    fn nats_settings(&self, name: &str) -> NatsSettings {
        let login = match (&self.nats_creds, &self.nats_user, &self.nats_token_file) {
            (Some(file), _, _) => Login::Credentials(file.clone()),
            (None, Some(user), _) => {
                let file = self.nats_password_file.clone().unwrap_or_default();
                Login::Password(user.clone(), file)
            }
            (None, None, Some(file)) => Login::Token(file.clone()),
            (None, None, None) => Login::None,
        };
        NatsSettings {
            urls: self.nats_url.clone(),
            site: self.site().to_owned(),
            name: name.to_owned(),
            login,
            tls: TlsFiles {
                ca: self.nats_tls_ca.clone(),
                pair: self.nats_tls_cert.clone().zip(self.nats_tls_key.clone()),
            },
        }
    }

    /// The flags that are given, but --engine.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--nats-url", !self.nats_url.is_empty()),
            ("--nats-creds", self.nats_creds.is_some()),
            ("--nats-user", self.nats_user.is_some()),
            ("--nats-password-file", self.nats_password_file.is_some()),
            ("--nats-token-file", self.nats_token_file.is_some()),
            ("--nats-tls-ca", self.nats_tls_ca.is_some()),
            ("--nats-tls-cert", self.nats_tls_cert.is_some()),
            ("--nats-tls-key", self.nats_tls_key.is_some()),
            ("--site", self.site.is_some()),
            ("--node-id", self.node_id.is_some()),
            ("--advertise-api", self.advertise_api.is_some()),
            ("--advertise-attach", self.advertise_attach.is_some()),
            (PEERS.ca, self.peer_ca.is_some()),
            (PEERS.certificate, self.peer_cert.is_some()),
            (PEERS.key, self.peer_key.is_some()),
            (PEERS.server_name, self.peer_server_name.is_some()),
            (PEERS.token_file, self.peer_token_file.is_some()),
        ];
        let given = all.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag).collect()
    }
}

fn check_name(flag: &str, name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    // A host's name has dots, too.
    let is_dot = |byte: u8| flag == "--node-id" && byte == b'.';
    let has_length = (1..=LONGEST_NAME).contains(&name.len());
    match has_length && name.bytes().all(|byte| fits(byte) || is_dot(byte)) {
        true => Ok(()),
        false => Err(format!(
            "{flag} {name:?} has to be letters, digits, _ and -, at most {LONGEST_NAME}"
        )),
    }
}

fn check_url(flag: &str, url: &str) -> Result<(), String> {
    let parsed = url.parse::<Uri>().ok();
    let fits = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.port().is_some()
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{flag} {url:?} has to be http://HOST:PORT or https://HOST:PORT"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        engine: EngineSettings,
    }

    const RIGHT: &str =
        "--engine=nats --nats-url=nats://n:4222 --advertise-api=http://node-0:50051";

    fn of(flags: &str) -> EngineSettings {
        let flags = flags.split_whitespace();
        Cli::try_parse_from(["node"].into_iter().chain(flags))
            .expect("they are flags")
            .engine
    }

    #[test]
    fn flags_that_do_not_fit_together_are_refused_with_what_is_missing() {
        for (flags, told) in [
            ("--site=s", "--site needs --engine nats"),
            ("--nats-url=nats://n", "--nats-url needs --engine nats"),
            ("--engine=nats", "--engine nats needs --nats-url"),
            (
                "--engine=nats --nats-url=nats://n",
                "--engine nats needs --advertise-api",
            ),
        ] {
            let problem = of(flags).check().expect_err(flags);
            assert!(problem.starts_with(told), "{flags}: {problem}");
        }
        for (more, told) in [
            ("--nats-user=u", "--nats-user needs --nats-password-file"),
            (
                "--nats-password-file=p",
                "--nats-password-file needs --nats-user",
            ),
            ("--nats-tls-cert=c", "--nats-tls-cert needs --nats-tls-key"),
            ("--nats-tls-key=k", "--nats-tls-key needs --nats-tls-cert"),
            (
                "--nats-tls-cert=c --nats-tls-key=k",
                "--nats-tls-cert needs --nats-tls-ca",
            ),
            (
                "--nats-creds=c --nats-token-file=t",
                "--nats-creds and --nats-token-file contradict each other",
            ),
            ("--site=a.b", "--site \"a.b\" has to be letters"),
            ("--node-id=a/b", "--node-id \"a/b\" has to be letters"),
            (
                "--advertise-attach=node-0:50052",
                "--advertise-attach \"node-0:50052\" has to be http://",
            ),
            ("--nats-url=ws://n", "--nats-url: \"ws://n\" begins neither"),
            (
                "--nats-url=nats://u:p@n",
                "--nats-url: the URL of n has a user in it",
            ),
        ] {
            let problem = of(&format!("{RIGHT} {more}")).check().expect_err(more);
            assert!(problem.starts_with(told), "{more}: {problem}");
            assert!(!problem.contains("u:p"), "{problem}");
        }
        for right in ["", RIGHT, "--engine=none"] {
            assert_eq!(of(right).check(), Ok(()), "{right}");
        }
    }

    #[test]
    fn what_is_given_is_what_nats_and_others_are_told() {
        let flags = "--nats-url=nats://a,tls://b:1 --nats-user=u --nats-password-file=p --nats-tls-ca=c \
                     --nats-tls-cert=d --nats-tls-key=k --site=east --node-id=node-0.x";
        let settings = of(&format!("{RIGHT} {flags}"));
        assert_eq!(settings.check(), Ok(()));
        let nats = settings.nats().expect("it is the engine");
        assert_eq!(nats.urls, ["nats://n:4222", "nats://a", "tls://b:1"]);
        assert_eq!(
            (nats.site.as_str(), nats.name.as_str()),
            ("east", "route-grpc node-0.x")
        );
        let password = PathBuf::from("p");
        assert!(
            matches!(nats.login, Login::Password(user, file) if user == "u" && file == password)
        );
        assert_eq!(nats.tls.pair, Some(("d".into(), "k".into())));

        let author = settings.author("0.1.0");
        assert_eq!(author.node_id, "node-0.x");
        assert_eq!(author.attach_url, "http://node-0:50051");
        assert!(of("").nats().is_none());
        assert_eq!(of(RIGHT).nats().expect("it is the engine").site, SITE);
    }
}
