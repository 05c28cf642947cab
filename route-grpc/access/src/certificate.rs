//! The names in a certificate, and until when they hold.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::printable::is_printable;

/// What a client's certificate says about him. TLS has checked before who signed it, that it is valid now, and that
/// the client has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The URIs among its alternative names, such as `spiffe://site/ns/im/sa/gateway`. Printable ASCII.
    pub uris: Vec<String>,
    /// The DNS names among them, in lower case. Printable ASCII.
    pub dns: Vec<String>,
    /// After this it is not valid.
    pub not_after: SystemTime,
}

/// Why a certificate is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not one X.509 certificate in DER, or ended before 1970.
    #[error("the certificate cannot be read")]
    Malformed,
    /// It says twice which other names it has, or one of them cannot be read.
    #[error("the certificate's alternative names cannot be read")]
    Names,
    /// A URI or DNS name is empty, or has other characters than printable ASCII.
    #[error("the certificate has a name that is not printable ASCII")]
    Unprintable,
}

impl Certificate {
    /// Reads a certificate in DER. It may have no names at all: then it is nobody's.
    ///
    /// # Errors
    /// It is no certificate, or its names are none.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, read) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let not_after =
            time(read.validity().not_after.timestamp()).ok_or(CertificateError::Malformed)?;
        let mut certificate = Self {
            uris: Vec::new(),
            dns: Vec::new(),
            not_after,
        };
        let names = read
            .subject_alternative_name()
            .map_err(|_| CertificateError::Names)?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            certificate.add(name)?;
        }
        Ok(certificate)
    }

    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), CertificateError> {
        match name {
            GeneralName::URI(uri) => self.uris.push(printable(uri)?),
            GeneralName::DNSName(dns) => self.dns.push(printable(dns)?.to_ascii_lowercase()),
            GeneralName::Invalid(..) => return Err(CertificateError::Names),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
        Ok(())
    }
}

fn printable(name: &str) -> Result<String, CertificateError> {
    is_printable(name)
        .then(|| name.to_owned())
        .ok_or(CertificateError::Unprintable)
}

fn time(seconds_since_1970: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds_since_1970.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn issued(names: Vec<SanType>) -> Vec<u8> {
        issued_until(2030, names)
    }

    fn issued_until(year: i32, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.not_after = date_time_ymd(year, 1, 2);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    fn text(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    #[test]
    fn names_and_the_end_of_validity_are_read() {
        let der = issued(vec![
            SanType::URI(text("spiffe://site/ns/im/sa/gateway")),
            SanType::DnsName(text("Push.IM.Site")),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::Rfc822Name(text("a@site")),
            SanType::URI(text("urn:second")),
        ]);
        let read = Certificate::read(&der).unwrap();
        assert_eq!(read.uris, ["spiffe://site/ns/im/sa/gateway", "urn:second"]);
        assert_eq!(read.dns, ["push.im.site"]);
        assert_eq!(
            read.not_after,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_542_400)
        );
    }

    #[test]
    fn a_certificate_may_have_no_names() {
        let read = Certificate::read(&issued(vec![])).unwrap();
        assert!(read.uris.is_empty() && read.dns.is_empty());
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let der = issued(vec![SanType::DnsName(text("push.site"))]);
        for length in 0..der.len() {
            assert_eq!(
                Certificate::read(&der[..length]),
                Err(CertificateError::Malformed),
                "{length} bytes"
            );
        }
        assert_eq!(
            Certificate::read(&[&der[..], &[0]].concat()),
            Err(CertificateError::Malformed)
        );
    }

    #[test]
    fn a_certificate_of_times_before_1970_is_refused() {
        assert_eq!(
            Certificate::read(&issued_until(1960, vec![])),
            Err(CertificateError::Malformed)
        );
    }

    #[test]
    fn a_name_that_is_not_ascii_is_refused() {
        let mut der = issued(vec![SanType::DnsName(text("push.site"))]);
        let at = der.windows(9).position(|it| it == b"push.site").unwrap();
        der[at] = 0xff;
        assert_eq!(Certificate::read(&der), Err(CertificateError::Names));
    }

    #[test]
    fn names_that_could_forge_a_log_line_are_refused() {
        for name in ["spiffe://site/a\nb", "", "\u{1b}[2J"] {
            let der = issued(vec![SanType::URI(text(name))]);
            assert_eq!(
                Certificate::read(&der),
                Err(CertificateError::Unprintable),
                "{name:?}"
            );
        }
    }
}
