//! Who makes a call that another node passes on: that node vouches for him.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::identity::Identity;
use crate::printable::is_printable;
use crate::token::Token;

/// What one node tells another of a caller, so that the other judges him as if he had come to it himself. It is signed by
/// nobody: it is worth what the node that sends it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vouched {
    /// What he has shown there.
    pub identity: Identity,
    /// He called by a socket of that node's host: a process of its own user, or of root.
    pub is_local: bool,
}

/// A text is none that a node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VouchedError {
    /// It is not base64url without padding of a JSON object with known names and values.
    #[error("it cannot be read")]
    Malformed,
    /// A name is not printable ASCII.
    #[error("it has a name that is not printable ASCII")]
    Unprintable,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<WrittenCertificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<WrittenToken>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    local: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCertificate {
    uris: Vec<String>,
    dns: Vec<String>,
    not_after: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    subject: String,
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    expires: u64,
}

impl Vouched {
    /// As it stands in a header: letters, digits, `-` and `_`. Times are rounded up to seconds: the node that writes it keeps
    /// to the exact ones.
    pub fn to_text(&self) -> String {
        let Identity { certificate, token } = &self.identity;
        let written = Written {
            certificate: certificate.as_ref().map(|it| WrittenCertificate {
                uris: it.uris.clone(),
                dns: it.dns.clone(),
                not_after: seconds(it.not_after),
            }),
            token: token.as_ref().map(|it| WrittenToken {
                subject: it.subject.clone(),
                groups: it.groups.clone(),
                issuer: it.issuer.clone(),
                expires: seconds(it.expires),
            }),
            local: self.is_local,
        };
        // Texts and numbers alone: there is nothing that JSON could not have.
        let json = serde_json::to_vec(&written).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_text(text: &[u8]) -> Result<Self, VouchedError> {
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| VouchedError::Malformed)?;
        let written: Written =
            serde_json::from_slice(&json).map_err(|_| VouchedError::Malformed)?;
        let certificate = written.certificate.map(certificate).transpose()?;
        let token = written.token.map(token).transpose()?;
        Ok(Self {
            identity: Identity { certificate, token },
            is_local: written.local,
        })
    }
}

fn certificate(written: WrittenCertificate) -> Result<Certificate, VouchedError> {
    let WrittenCertificate {
        uris,
        dns,
        not_after,
    } = written;
    let mut names = uris.iter().chain(&dns);
    if !names.all(|name| is_printable(name)) {
        return Err(VouchedError::Unprintable);
    }
    let not_after = time(not_after)?;
    Ok(Certificate {
        uris,
        dns,
        not_after,
    })
}

fn token(written: WrittenToken) -> Result<Token, VouchedError> {
    if !is_printable(&written.subject) {
        return Err(VouchedError::Unprintable);
    }
    Ok(Token {
        subject: written.subject,
        groups: written.groups,
        issuer: written.issuer,
        expires: time(written.expires)?,
    })
}

/// Since 1970, rounded up.
fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |it| {
        it.as_secs()
            .saturating_add(u64::from(it.subsec_nanos() > 0))
    })
}

fn time(seconds: u64) -> Result<SystemTime, VouchedError> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.ok_or(VouchedError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn both(expires: SystemTime) -> Vouched {
        Vouched {
            identity: Identity {
                certificate: Some(Certificate {
                    uris: vec!["spiffe://site/a".to_owned(), "urn:b".to_owned()],
                    dns: vec!["c.site".to_owned()],
                    not_after: at(7000),
                }),
                token: Some(Token {
                    subject: "push".to_owned(),
                    groups: vec!["gr\u{fc}n\n\u{7f}".to_owned()],
                    issuer: Some("https://issuer".to_owned()),
                    expires,
                }),
            },
            is_local: false,
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let local = Vouched {
            is_local: true,
            ..Vouched::default()
        };
        for vouched in [both(at(9000)), local, Vouched::default()] {
            let text = vouched.to_text();
            assert_eq!(Vouched::from_text(text.as_bytes()), Ok(vouched));
            let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
            assert!(text.bytes().all(is_plain), "{text}");
        }
        let rounded = Vouched::from_text(both(at(8001)).to_text().as_bytes());
        assert_eq!(rounded, Ok(both(at(9000))), "it does not expire too early");
    }

    #[test]
    fn what_no_node_writes_is_refused() {
        let read = |json: &str| Vouched::from_text(URL_SAFE_NO_PAD.encode(json).as_bytes());
        for json in [
            "",
            "null",
            "{}{}",
            r#"{"roles":["admin"]}"#,
            r#"{"local":1}"#,
            r#"{"token":{"subject":"a","groups":[]}}"#,
            r#"{"token":{"subject":"a","groups":[],"expires":-1}}"#,
            r#"{"certificate":{"uris":[],"dns":[],"not_after":18446744073709551615}}"#,
        ] {
            assert_eq!(read(json), Err(VouchedError::Malformed), "{json}");
        }
        for json in [
            r#"{"token":{"subject":"a\nb","groups":[],"expires":1}}"#,
            r#"{"token":{"subject":"","groups":[],"expires":1}}"#,
            r#"{"certificate":{"uris":["urn:\u0000"],"dns":[],"not_after":1}}"#,
            r#"{"certificate":{"uris":[],"dns":["\u00fc.site"],"not_after":1}}"#,
        ] {
            assert_eq!(read(json), Err(VouchedError::Unprintable), "{json}");
        }
        let text = both(at(9000)).to_text();
        for length in 0..text.len() {
            let cut = Vouched::from_text(&text.as_bytes()[..length]);
            assert_eq!(cut, Err(VouchedError::Malformed), "{length} bytes");
        }
    }
}
