//! Flags of TLS and tokens towards upstreams.

use std::path::PathBuf;

use clap::Args;
use route_runtime::tls::client::{ClientTls, Names};

/// How the flags are called.
const NAMES: Names = Names {
    ca: "--upstream-ca",
    certificate: "--upstream-cert",
    key: "--upstream-key",
    server_name: "--upstream-server-name",
    token_file: "--upstream-token-file",
};

/// What is shown to nodes, and whom is trusted. Files are read anew for each attempt to attach.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS to upstreams")]
pub struct UpstreamTlsArgs {
    /// Certificates of those who sign nodes' certificates, in PEM: nodes are connected to by TLS
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// This gateway's certificate, in PEM, with those that lead to its root
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_CERT", value_name = "FILE")]
    pub upstream_cert: Option<PathBuf>,
    /// The key of --upstream-cert, in PEM
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_KEY", value_name = "FILE")]
    pub upstream_key: Option<PathBuf>,
    /// The name that nodes' certificates have [default: the host of --upstream]
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_SERVER_NAME", value_name = "NAME")]
    pub upstream_server_name: Option<String>,
    /// A token to show to nodes; without TLS only to one on this host
    #[arg(long, env = "TT_GATEWAY_UPSTREAM_TOKEN_FILE", value_name = "FILE")]
    pub upstream_token_file: Option<PathBuf>,
}

impl UpstreamTlsArgs {
    /// How nodes are connected to.
    pub fn client(&self) -> ClientTls {
        ClientTls {
            names: NAMES,
            ca: self.upstream_ca.clone(),
            certificate: self.upstream_cert.clone(),
            key: self.upstream_key.clone(),
            server_name: self.upstream_server_name.clone(),
            token_file: self.upstream_token_file.clone(),
        }
    }

    /// The flag that is given, if one is.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (NAMES.ca, self.upstream_ca.is_some()),
            (NAMES.certificate, self.upstream_cert.is_some()),
            (NAMES.key, self.upstream_key.is_some()),
            (NAMES.server_name, self.upstream_server_name.is_some()),
            (NAMES.token_file, self.upstream_token_file.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.next().map(|(flag, _)| flag)
    }
}
