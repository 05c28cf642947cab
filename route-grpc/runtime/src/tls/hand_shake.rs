//! Why there is no connection by TLS, for operators: what to mend.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError};

use super::client::ClientTls;

/// What a hand-shake says that gets no answer of TLS.
const NO_TLS: &str =
    "that port does not speak TLS: is it the node's, and does the node have a certificate?";

impl ClientTls {
    /// For operators, what to mend, if this is why there is no connection by TLS.
    pub fn explained(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let own = causes(error).find_map(own_refusal);
        if let Some(problem) = own {
            // Of another library: what else there is has a text.
            #[allow(clippy::wildcard_enum_match_arm)]
            return Some(match problem {
                rustls::Error::InvalidCertificate(problem) => self.certificate_is_wrong(problem),
                rustls::Error::InvalidMessage(_) => NO_TLS.to_owned(),
                rustls::Error::AlertReceived(alert) => self.refused(&format!("{alert:?}")),
                other => format!("TLS failed: {other}"),
            });
        }
        // What breaks the connection after the hand-shake is known by its text alone.
        let told = innermost(error);
        let alert = told.split_once("received fatal alert: ");
        match alert {
            Some((_, alert)) => Some(self.refused(alert)),
            None if told.contains("HTTP/2 was not negotiated") => {
                Some("that port speaks TLS, but no gRPC: is it the node's?".to_owned())
            }
            None if told.contains("TLS handshake timed out") => {
                Some(format!("no TLS hand-shake in time; {NO_TLS}"))
            }
            None if self.ca.is_some() && has_broken(error) => Some(self.cut_off(&told)),
            None if self.ca.is_some() && ended_early(error) => Some(format!(
                "the connection broke in the TLS hand-shake ({told}): is a node there, and does it speak TLS?"
            )),
            None => None,
        }
    }

    /// The node's alert may be lost on the way.
    fn cut_off(&self, told: &str) -> String {
        let (certificate, key) = (self.names.certificate, self.names.key);
        let question = match self.certificate {
            Some(_) => format!("does the node take the certificate of {certificate}?"),
            None => format!("if the node wants a certificate, give {certificate} and {key}"),
        };
        format!("the connection broke before an answer ({told}): {question}")
    }

    fn certificate_is_wrong(&self, problem: &CertificateError) -> String {
        let names = self.names;
        let shown = |path: &Option<PathBuf>| {
            let path = path.as_ref();
            path.map(|path| path.display().to_string())
                .unwrap_or_default()
        };
        // Of another library: what else there is has a text.
        #[allow(clippy::wildcard_enum_match_arm)]
        match problem {
            // The second is of an authority that has the same name and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the node's certificate is signed by nobody in {} {}",
                names.ca,
                shown(&self.ca)
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the node's certificate has another name ({problem}); {} says which it should have",
                    names.server_name
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the node's certificate has expired, or a clock is wrong ({problem})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the node's certificate is not valid yet, or a clock is wrong ({problem})")
            }
            other => format!("the node's certificate cannot be used: {other}"),
        }
    }

    /// The node has said so by an alert of TLS.
    fn refused(&self, alert: &str) -> String {
        let is = |description: AlertDescription| alert.starts_with(&format!("{description:?}"));
        let (certificate, key) = (self.names.certificate, self.names.key);
        if is(AlertDescription::CertificateRequired) {
            return match self.certificate {
                Some(_) => format!(
                    "the node wants a certificate and got none: is {certificate} one for clients?"
                ),
                None => format!("the node wants a certificate: give {certificate} and {key}"),
            };
        }
        if is(AlertDescription::CertificateExpired) {
            return format!("the node says that {certificate} has expired");
        }
        if is(AlertDescription::ProtocolVersion) || is(AlertDescription::HandshakeFailure) {
            return format!("the node and this program have no way of TLS in common ({alert})");
        }
        match self.certificate {
            Some(_) => format!(
                "the node does not take the certificate of {certificate} ({alert}): has it one of the node's authorities \
                 and its own times?"
            ),
            None => format!("the node refuses the TLS hand-shake ({alert})"),
        }
    }
}

/// For operators, why a call without TLS may have been cut off before it was answered; none if it was otherwise.
pub fn wants_tls(error: &(dyn Error + 'static)) -> Option<String> {
    has_broken(error).then(|| {
        let cause = innermost(error);
        format!("the connection broke before an answer ({cause}): if the node speaks TLS, write https://")
    })
}

fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + 'a {
    successors(Some(error), |&error| error.source())
}

/// What our end of TLS had against the connection.
fn own_refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref()
}

/// A connection has ended before it could be used, though somebody took it.
fn ended_early(error: &(dyn Error + 'static)) -> bool {
    let mut kinds =
        causes(error).filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    kinds.any(|kind| {
        matches!(
            kind,
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    })
}

/// A connection that was made has ended without an answer.
fn has_broken(error: &(dyn Error + 'static)) -> bool {
    let mut causes = causes(error);
    causes.any(|cause| cause.is::<hyper::Error>() || cause.is::<h2::Error>())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last();
    let told = last.map(ToString::to_string).unwrap_or_default();
    // The library's page is not for operators.
    let text = told.split(": https://").next();
    text.unwrap_or_default().to_owned()
}
