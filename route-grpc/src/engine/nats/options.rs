//! How NATS is reached: servers, credentials, TLS. Files are read anew for each connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use route_runtime::tls::files::{self, FileError, Pair};
use rustls::ClientConfig;

/// A server that does not take a connection in so long is passed over.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A server that is silent is asked so often whether it is there; the third time, the connection is given up.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How NATS is reached.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// `nats://host:port` or `tls://host:port`; each is tried.
    pub urls: Vec<String>,
    /// The site whose record it is: letters, digits, `_` and `-`.
    pub site: String,
    /// How this node is called in what NATS shows of its connections.
    pub name: String,
    /// Who this node is, to NATS.
    pub login: Login,
    /// TLS, beside what the URLs say.
    pub tls: TlsFiles,
}

/// Who this node is, to NATS.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// Nobody, or whom its certificate says.
    #[default]
    None,
    /// A file of credentials, of a JWT and a seed.
    Credentials(PathBuf),
    /// A user, and a file with the password.
    Password(String, PathBuf),
    /// A file with a token.
    Token(PathBuf),
}

/// Files of TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Those who sign servers' certificates; with it, TLS is spoken. None: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// This node's certificate and its key.
    pub pair: Option<(PathBuf, PathBuf)>,
}

impl NatsSettings {
    /// The servers.
    ///
    /// # Errors
    ///
    /// A URL is none of NATS.
    pub fn servers(&self) -> Result<Vec<ServerAddr>, String> {
        self.urls.iter().map(|url| server(url)).collect()
    }

    /// Whether the files can be used, as for a connection. None is made.
    ///
    /// # Errors
    ///
    /// A URL or a file is of no use; a sentence says which and why.
    pub fn check(&self) -> Result<(), String> {
        self.servers()?;
        self.options().map(|_| ())
    }

    /// What a connection is made with.
    ///
    /// # Errors
    ///
    /// A file is of no use; a sentence says which and why.
    pub(super) fn options(&self) -> Result<ConnectOptions, String> {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING_INTERVAL)
            .no_echo()
            .ignore_discovered_servers()
            .max_reconnects(1);
        options = match &self.login {
            Login::None => options,
            Login::Credentials(file) => {
                let told = |error: std::io::Error| unfit(file, &error.to_string());
                options.credentials(&text(file)?).map_err(told)?
            }
            Login::Password(user, file) => options.user_and_password(user.clone(), secret(file)?),
            Login::Token(file) => options.token(secret(file)?),
        };
        if self.tls.ca.is_some() || self.tls.pair.is_some() {
            let config = self.tls.config()?;
            options = options.tls_client_config(config).require_tls(true);
        }
        Ok(options)
    }
}

impl TlsFiles {
    fn config(&self) -> Result<ClientConfig, String> {
        let told = |error: FileError| error.to_string();
        let roots = match &self.ca {
            Some(ca) => files::roots(ca).map_err(told)?,
            None => return Err("a certificate for NATS needs the CA of its servers".to_owned()),
        };
        let config = ClientConfig::builder_with_provider(files::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.pair else {
            return Ok(config.with_no_client_auth());
        };
        let pair = Pair::read(certificate, key).map_err(told)?;
        let certified = pair.certified(certificate, key).map_err(told)?;
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        Ok(config.with_client_cert_resolver(std::sync::Arc::new(resolver)))
    }
}

fn server(url: &str) -> Result<ServerAddr, String> {
    let server: ServerAddr = url
        .parse()
        .map_err(|error| format!("{url:?} is no URL of NATS: {error}"))?;
    // The crate would take no notice of them.
    if server.username().is_some() || server.password().is_some() {
        let host = server.host();
        return Err(format!(
            "the URL of {host} has a user in it, whom others would see: give user and password by flags of their own"
        ));
    }
    match server.scheme() {
        "nats" | "tls" => Ok(server),
        _ => Err(format!(
            "{url:?} begins neither with nats:// nor with tls://"
        )),
    }
}

fn text(file: &Path) -> Result<String, String> {
    let bytes = files::read(file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| unfit(file, "it is no text"))
}

/// What the file has, without white space around it.
fn secret(file: &Path) -> Result<String, String> {
    let secret = text(file)?.trim().to_owned();
    match secret.is_empty() {
        true => Err(unfit(file, "it is empty")),
        false => Ok(secret),
    }
}

fn unfit(file: &Path, problem: &str) -> String {
    format!("{}: {problem}", file.display())
}
