//! The client's end of TLS: whom it trusts, what it shows, the token that it sends.
//!
//! Files are read anew for each connection, and so are those that somebody has replaced meanwhile. Nothing is trusted
//! that no file names: there are no roots of our own.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::sleep;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{ClientTlsConfig, Endpoint, Identity, Uri};

use super::files::{FileError, Pair, open, roots};
use crate::telemetry::reasons;

/// Longest token, bytes: more than servers take as headers.
const LONGEST_TOKEN: u64 = 16 << 10;

/// A certificate and a key that do not go together are being replaced: so often they are read again,
const READ_AGAIN: u32 = 4;

/// after so long each.
const BETWEEN_READS: Duration = Duration::from_millis(250);

/// What a file may be that trusts whom the system trusts.
const SYSTEMS_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How the flags are called, for what is said of them.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Of [`ClientTls::ca`].
    pub ca: &'static str,
    /// Of [`ClientTls::certificate`].
    pub certificate: &'static str,
    /// Of [`ClientTls::key`].
    pub key: &'static str,
    /// Of [`ClientTls::server_name`].
    pub server_name: &'static str,
    /// Of [`ClientTls::token_file`].
    pub token_file: &'static str,
}

/// What flags say of TLS and tokens.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// How they are called.
    pub names: Names,
    /// Those who sign nodes' certificates. With it, TLS is spoken.
    pub ca: Option<PathBuf>,
    /// Our own certificate, with those that lead to its root.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the node's certificate has, if it is not that in its URL.
    pub server_name: Option<String>,
    /// The token.
    pub token_file: Option<PathBuf>,
}

/// A file that a flag names is of no use now.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It cannot be read, or has not in it what it should have.
    #[error("{flag}: {problem}")]
    File {
        /// The flag.
        flag: &'static str,
        /// What is wrong. No source: it says its own.
        problem: FileError,
    },
    /// What is in it is no token. It is not shown.
    #[error("{flag}: {}: {problem}", path.display())]
    Token {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// TLS does not take what is in the files.
    #[error("{ca}: {problem}")]
    Config {
        /// The flag that stands for them.
        ca: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// What the files have at one moment.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    tls: Option<ClientTlsConfig>,
    /// The value of the header `authorization`, which logs do not show.
    pub authorization: Option<MetadataValue<Ascii>>,
}

impl ClientTls {
    /// Without TLS and without a token.
    pub fn none(names: Names) -> Self {
        Self {
            names,
            ca: None,
            certificate: None,
            key: None,
            server_name: None,
            token_file: None,
        }
    }

    /// The URL of an address, which may be one: `https` if there is a CA.
    pub fn url(&self, address: &str) -> String {
        match (address.contains("://"), &self.ca) {
            (true, _) => address.to_owned(),
            (false, Some(_)) => format!("https://{address}"),
            (false, None) => format!("http://{address}"),
        }
    }

    /// What is wrong with the flags together, for connections to these URLs, as a sentence that says what to do. Reads no file.
    pub fn check<'a>(&self, urls: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let names = self.names;
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                let (given, missing) = (names.certificate, names.key);
                return Err(format!("{given} needs {missing}: give the key's file too"));
            }
            (None, Some(_)) => {
                let (given, missing) = (names.key, names.certificate);
                return Err(format!(
                    "{given} needs {missing}: give the certificate's file too"
                ));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(name) = &self.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            let flag = names.server_name;
            return Err(format!(
                "{flag}: {name:?} is neither a name such as node.example nor an IP address"
            ));
        }
        urls.into_iter().try_for_each(|url| self.fits(url))
    }

    fn fits(&self, url: &str) -> Result<(), String> {
        let names = self.names;
        if url.starts_with("https://") {
            return match self.ca {
                Some(_) => Ok(()),
                None => Err(format!(
                    "{url} needs {}: a file with the certificates of those who sign nodes' certificates, such as \
                     {SYSTEMS_BUNDLE} for whom the system trusts",
                    names.ca
                )),
            };
        }
        let of_tls = [
            (names.ca, self.ca.is_some()),
            (names.certificate, self.certificate.is_some()),
            (names.server_name, self.server_name.is_some()),
        ];
        if let Some((flag, _)) = of_tls.into_iter().find(|(_, is_given)| *is_given) {
            let ca = names.ca;
            return Err(
                match flag == ca || url.contains("://") && self.ca.is_some() {
                    true => format!(
                        "{flag} means nothing to {url}, which is without TLS: write https://, or leave it out"
                    ),
                    false => format!("{flag} needs {ca}, without which there is no TLS to {url}"),
                },
            );
        }
        match self.token_file.is_some() && !is_loopback(url) {
            true => Err(format!(
                "{} would be sent to {url} as plain text, for everybody on the way to read: write https:// and give {}",
                names.token_file, names.ca
            )),
            false => Ok(()),
        }
    }

    /// What the files have now.
    ///
    /// # Errors
    ///
    /// One cannot be used.
    pub fn read(&self) -> Result<Credentials, ClientError> {
        Ok(Credentials {
            tls: self.config()?,
            authorization: self.authorization()?,
        })
    }

    /// The same, while others may be about to replace them: a certificate and a key that do not go together are read again
    /// for a second. Waits without holding up the runtime.
    ///
    /// # Errors
    ///
    /// As in [`read`](Self::read).
    pub async fn current(&self) -> Result<Credentials, ClientError> {
        if self.ca.is_none() && self.token_file.is_none() {
            return Ok(Credentials::default());
        }
        for _ in 0..READ_AGAIN {
            match self.read_elsewhere().await {
                Err(error) if error.is_mismatch() => sleep(BETWEEN_READS).await,
                read => return read,
            }
        }
        self.read_elsewhere().await
    }

    async fn read_elsewhere(&self) -> Result<Credentials, ClientError> {
        let tls = self.clone();
        match tokio::task::spawn_blocking(move || tls.read()).await {
            Ok(read) => read,
            // The runtime goes down, or it panicked there.
            Err(error) => Err(self.unfit(error.to_string())),
        }
    }

    /// `Bearer` and the token as it is in its file now; none without a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no token.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, ClientError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let wrong = |problem: String| ClientError::Token {
            flag: self.names.token_file,
            path: path.clone(),
            problem,
        };
        let token = token(path).map_err(wrong)?;
        let value = MetadataValue::try_from(format!("Bearer {token}"));
        let mut value = value
            .map_err(|_| wrong("it has characters in it that no token may have".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn config(&self) -> Result<Option<ClientTlsConfig>, ClientError> {
        let Some(ca) = &self.ca else {
            return Ok(None);
        };
        let file = |flag| move |problem| ClientError::File { flag, problem };
        let trusted = roots(ca).map_err(file(self.names.ca))?;
        let mut config = ClientTlsConfig::new().trust_anchors(trusted.roots);
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let pair = Pair::read(certificate, key).map_err(|source| {
                let is_of_key = path(&source) == Some(key);
                let names = self.names;
                file(if is_of_key {
                    names.key
                } else {
                    names.certificate
                })(source)
            })?;
            config = config.identity(Identity::from_pem(pair.certificate, pair.key));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        Ok(Some(config))
    }

    /// An endpoint whose connections are secured by these.
    ///
    /// # Errors
    ///
    /// TLS does not take them.
    pub fn secured(
        &self,
        endpoint: Endpoint,
        credentials: &Credentials,
    ) -> Result<Endpoint, ClientError> {
        let Some(mut config) = credentials.tls.clone() else {
            return Ok(endpoint);
        };
        // tonic's own limit is over when the hand-shake begins.
        if let Some(time) = endpoint.get_connect_timeout() {
            config = config.timeout(time);
        }
        let secured = endpoint.tls_config(config);
        secured.map_err(|error| self.unfit(reasons(&error)))
    }

    fn unfit(&self, problem: String) -> ClientError {
        ClientError::Config {
            ca: self.names.ca,
            problem,
        }
    }
}

impl ClientError {
    /// The certificate and the key are of two pairs, as for a moment while they are replaced.
    fn is_mismatch(&self) -> bool {
        match self {
            Self::File { problem, .. } => matches!(problem, FileError::Mismatch { .. }),
            Self::Token { .. } | Self::Config { .. } => false,
        }
    }
}

/// The file, if the problem is one file's.
fn path(error: &FileError) -> Option<&PathBuf> {
    match error {
        FileError::Read { path, .. } | FileError::Unfit { path, .. } => Some(path),
        FileError::Mismatch { .. } => None,
    }
}

/// What the file has, without white space around it.
fn token(path: &Path) -> Result<String, String> {
    let mut read = String::new();
    let file = open(path).map_err(|error| match error {
        FileError::Read { source, .. } => format!("cannot be read: {source}"),
        FileError::Unfit { problem, .. } => problem,
        mismatch @ FileError::Mismatch { .. } => mismatch.to_string(),
    })?;
    let length = file.take(LONGEST_TOKEN + 1).read_to_string(&mut read);
    match length {
        Ok(length) if length as u64 > LONGEST_TOKEN => {
            return Err(format!("longer than {LONGEST_TOKEN} bytes, so no token"));
        }
        Ok(_) => {}
        Err(error) => return Err(format!("cannot be read: {error}")),
    }
    match read.trim() {
        "" => Err("there is no token in it".to_owned()),
        token => Ok(token.to_owned()),
    }
}

/// Whether what is sent there stays on this host.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else {
        return false;
    };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
