//! What a token says, and whether it counts here and now.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Token, TokenError, TokenRules};
use crate::printable::is_printable;

/// Bytes. Kubernetes' subjects have up to 340, those of OpenID Connect 255.
const LONGEST_SUBJECT: usize = 512;
/// The end of the year 9999, in seconds since 1970: later times are no times.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// How the subject of a service account of Kubernetes begins. Its namespace and name follow.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The claims that count.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(default, deserialize_with = "value")]
    sub: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    iss: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    aud: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    iat: Option<Value>,
    #[serde(default, deserialize_with = "value")]
    groups: Option<Value>,
}

/// Judges the claims of a token whose signature is right.
pub(super) fn judged(
    claims: &Claims,
    rules: &TokenRules,
    now: SystemTime,
) -> Result<Token, TokenError> {
    let exp = claims
        .exp
        .as_ref()
        .and_then(time)
        .ok_or(TokenError::Claim("exp"))?;
    let expires = exp
        .checked_add(rules.leeway)
        .ok_or(TokenError::Claim("exp"))?;
    let nbf = optional(claims.nbf.as_ref(), time, "nbf")?;
    optional(claims.iat.as_ref(), time, "iat")?;
    let audiences = claims
        .aud
        .as_ref()
        .and_then(texts)
        .ok_or(TokenError::Claim("aud"))?;
    let issuer = optional(
        claims.iss.as_ref(),
        |iss| iss.as_str().map(str::to_owned),
        "iss",
    )?;
    let subject = claims
        .sub
        .as_ref()
        .and_then(subject)
        .ok_or(TokenError::Claim("sub"))?;
    let mut groups = optional(claims.groups.as_ref(), texts, "groups")?.unwrap_or_default();
    groups.extend(service_account_groups(&subject));

    if now >= expires {
        return Err(TokenError::Expired);
    }
    if nbf
        .and_then(|nbf| nbf.duration_since(now).ok())
        .is_some_and(|early| early > rules.leeway)
    {
        return Err(TokenError::NotYetValid);
    }
    if !audiences
        .iter()
        .any(|audience| rules.audiences.contains(audience))
    {
        return Err(TokenError::Audience);
    }
    if !rules.issuers.is_empty()
        && !issuer
            .as_ref()
            .is_some_and(|issuer| rules.issuers.contains(issuer))
    {
        return Err(TokenError::Issuer);
    }
    Ok(Token {
        subject,
        groups,
        issuer,
        expires,
    })
}

/// A claim that is there, also if it is null.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn optional<T>(
    claim: Option<&Value>,
    read: impl Fn(&Value) -> Option<T>,
    name: &'static str,
) -> Result<Option<T>, TokenError> {
    claim
        .map(|claim| read(claim).ok_or(TokenError::Claim(name)))
        .transpose()
}

/// Seconds since 1970, perhaps with a fraction.
fn time(claim: &Value) -> Option<SystemTime> {
    let seconds = claim
        .as_f64()
        .filter(|seconds| (0.0..=LAST_SECOND).contains(seconds))?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds))
}

/// A list of texts, or one text.
fn texts(claim: &Value) -> Option<Vec<String>> {
    match claim {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list
            .iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn subject(claim: &Value) -> Option<String> {
    let subject = claim.as_str()?;
    (is_printable(subject) && subject.len() <= LONGEST_SUBJECT).then(|| subject.to_owned())
}

/// The groups that Kubernetes means by the subject of a service account: all of them, and those of its namespace.
fn service_account_groups(subject: &str) -> Vec<String> {
    let account = subject
        .strip_prefix(SERVICE_ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains(':') =>
        {
            vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ]
        }
        Some(_) | None => Vec::new(),
    }
}
