//! `pdu-gateway check-config`: whether a gateway would start with these flags, their environment, and the files that they
//! name.

use opentelemetry::metrics::Meter;

use crate::node::embedded::{OpenError, check_ports};
use crate::process::settings::Settings;
use route_runtime::tls::client::ClientError;

/// A gateway would not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Because of the node in the same process.
    #[error(transparent)]
    Node(#[from] OpenError),
    /// Because of what it would show to a node elsewhere.
    #[error(transparent)]
    Upstream(#[from] ClientError),
}

/// Reads the files, and tells what they have, a line each. Nothing is bound, nobody is connected to.
///
/// # Errors
///
/// A file is of no use, or others could reach what nobody protects.
pub fn check_config(settings: &Settings, meter: &Meter) -> Result<Vec<String>, ConfigError> {
    let mut told = vec![format!("--dialect: {}", settings.dialect.name())];
    if settings.embedded {
        told.extend(check_ports(settings.grpc_listen, &settings.node, meter)?);
        return Ok(told);
    }
    let tls = settings.upstream_tls.client();
    tls.read()?;
    let urls = settings.upstream_urls();
    told.extend(urls.iter().map(|url| format!("--upstream: {url}")));
    if tls.certificate.is_some() {
        told.push(format!("{}: goes with its key", tls.names.certificate));
    }
    if tls.token_file.is_some() {
        told.push(format!("{}: there is a token in it", tls.names.token_file));
    }
    Ok(told)
}
