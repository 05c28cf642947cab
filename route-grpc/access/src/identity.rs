//! Who makes a call.

use std::time::SystemTime;

use crate::certificate::Certificate;
use crate::token::Token;

/// Who makes a call, as far as he has shown. With a certificate and a token he has the rights of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Of the connection.
    pub certificate: Option<Certificate>,
    /// Of the call.
    pub token: Option<Token>,
}

impl Identity {
    /// What logs call him, and what he is counted under: the certificate's first URI, else its first DNS name, else
    /// the token's subject, else `anonymous`. Printable ASCII.
    pub fn name(&self) -> &str {
        let certificate = self.certificate.as_ref();
        let uri = certificate.and_then(|it| it.uris.first());
        let dns = || certificate.and_then(|it| it.dns.first());
        let subject = || self.token.as_ref().map(|it| &it.subject);
        uri.or_else(dns)
            .or_else(subject)
            .map_or("anonymous", String::as_str)
    }

    /// What tells him from everybody else: his name, with where it is from. Not for people.
    pub fn key(&self) -> String {
        let certificate = self.certificate.as_ref();
        match (
            certificate.map(|it| (it.uris.first(), it.dns.first())),
            &self.token,
        ) {
            (Some((Some(uri), _)), _) => format!("uri {uri}"),
            (Some((None, Some(dns))), _) => format!("dns {dns}"),
            (_, Some(token)) => {
                let issuer = token.issuer.as_deref().unwrap_or_default();
                format!("token {} of {issuer}", token.subject)
            }
            (_, None) => "anonymous".to_owned(),
        }
    }

    /// When the first of what he has shown expires. `None`: he has shown nothing.
    pub fn expires(&self) -> Option<SystemTime> {
        let certificate = self.certificate.as_ref().map(|it| it.not_after);
        let token = self.token.as_ref().map(|it| it.expires);
        certificate.into_iter().chain(token).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn certificate(uris: &[&str], dns: &[&str]) -> Certificate {
        let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        Certificate {
            uris: owned(uris),
            dns: owned(dns),
            not_after: at(20),
        }
    }

    fn token(subject: &str, expires: SystemTime) -> Token {
        Token {
            subject: subject.to_owned(),
            groups: Vec::new(),
            issuer: None,
            expires,
        }
    }

    #[test]
    fn the_name_is_the_strongest_that_was_shown() {
        let named = |certificate, token| Identity { certificate, token }.name().to_owned();
        let push = || Some(token("push", at(10)));
        assert_eq!(
            named(Some(certificate(&["urn:a", "urn:b"], &["c.site"])), push()),
            "urn:a"
        );
        assert_eq!(
            named(Some(certificate(&[], &["c.site", "d.site"])), push()),
            "c.site"
        );
        assert_eq!(named(Some(certificate(&[], &[])), push()), "push");
        assert_eq!(named(None, push()), "push");
        assert_eq!(named(Some(certificate(&[], &[])), None), "anonymous");
        assert_eq!(named(None, None), "anonymous");
    }

    #[test]
    fn who_has_the_same_name_from_elsewhere_is_another_one() {
        let key = |certificate, token| Identity { certificate, token }.key();
        let of = |issuer: &str| {
            let issuer = Some(issuer.to_owned());
            Some(Token {
                issuer,
                ..token("push", at(10))
            })
        };
        let keys = [
            key(None, of("one")),
            key(None, of("other")),
            key(None, Some(token("push", at(10)))),
            key(Some(certificate(&["push"], &[])), of("one")),
            key(Some(certificate(&[], &["push"])), None),
            key(None, None),
        ];
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn it_expires_with_the_first_of_what_was_shown() {
        let expires = |certificate, token| Identity { certificate, token }.expires();
        let shown = || Some(certificate(&["urn:a"], &[]));
        assert_eq!(expires(shown(), Some(token("push", at(10)))), Some(at(10)));
        assert_eq!(expires(shown(), Some(token("push", at(30)))), Some(at(20)));
        assert_eq!(expires(None, Some(token("push", at(30)))), Some(at(30)));
        assert_eq!(expires(None, None), None);
    }
}
