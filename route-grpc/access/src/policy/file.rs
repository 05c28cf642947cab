//! The policy file.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::kind::Kind;
use super::pattern::Pattern;
use super::rights::{Limits, Rights, Role};
use super::{Entry, Who};
use crate::printable::is_printable;

/// What is wrong with a policy file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong. It names the field.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<i64>,
    allow: Option<Vec<Spanned<Allow>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    uri: Option<Spanned<String>>,
    dns: Option<Spanned<String>>,
    subject: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    issuer: Option<Spanned<String>>,
    roles: Spanned<BTreeSet<Role>>,
    subscribe: Option<Texts>,
    publish: Option<Texts>,
    gateway_ids: Option<Texts>,
    limits: Option<LimitsOfEntry>,
}

type Texts = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsOfEntry {
    streams: Option<NonZeroU32>,
    calls_per_second: Option<NonZeroU32>,
    ids_per_second: Option<NonZeroU32>,
    published_per_second: Option<NonZeroU32>,
}

const NO_ISSUER: &str = "certificates have no issuer here: it goes with subject or group";

/// What is wrong, and with which bytes of the file.
struct Fault {
    at: Range<usize>,
    what: String,
}

pub(super) fn read(text: &str) -> Result<Vec<Entry>, PolicyError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let what = error.message().to_owned();
        PolicyError {
            line: line(text, start),
            what: field(text, start).map_or_else(|| what.clone(), |it| format!("{it}: {what}")),
        }
    })?;
    entries(file).map_err(|fault| PolicyError {
        line: line(text, fault.at.start),
        what: fault.what,
    })
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The name before the `=` of the line.
fn field(text: &str, at: usize) -> Option<&str> {
    let (name, _) = text.lines().nth(line(text, at) - 1)?.split_once('=')?;
    Some(name.trim())
}

fn entries(file: File) -> Result<Vec<Entry>, Fault> {
    if *file.version.get_ref() != 1 {
        return Err(fault(&file.version, "version: 1 is the only one"));
    }
    let Some(entries) = file.allow else {
        let what =
            "allow: there is none, so nobody may do anything; if that is meant, write `allow = []`";
        return Err(fault(&file.version, what));
    };
    entries.into_iter().map(entry).collect()
}

fn entry(allow: Spanned<Allow>) -> Result<Entry, Fault> {
    let who = who(&allow)?;
    let allow = allow.into_inner();
    if allow.roles.get_ref().is_empty() {
        return Err(fault(&allow.roles, "roles: there is none"));
    }
    let hears = of_role(
        &allow.roles,
        Role::Listener,
        allow.subscribe,
        "subscribe",
        kinds,
    )?;
    let publishes = of_role(
        &allow.roles,
        Role::Publisher,
        allow.publish,
        "publish",
        kinds,
    )?;
    let gateway_ids = of_role(
        &allow.roles,
        Role::Gateway,
        allow.gateway_ids,
        "gateway_ids",
        gateway_ids,
    )?;
    let limits = allow.limits.map_or_else(Limits::default, Limits::from);
    Ok(Entry {
        who,
        rights: Rights::of(
            allow.roles.into_inner(),
            hears,
            publishes,
            gateway_ids,
            limits,
        ),
    })
}

/// Reads whom an entry is for. Only tokens have an issuer.
type ReadWho = fn(&str, Option<&str>) -> Result<Who, &'static str>;

fn who(allow: &Spanned<Allow>) -> Result<Who, Fault> {
    let Allow {
        uri,
        dns,
        subject,
        group,
        issuer,
        ..
    } = allow.get_ref();
    let fields: [(&str, &Option<Spanned<String>>, ReadWho); 4] = [
        ("uri", uri, of_uri),
        ("dns", dns, of_dns),
        ("subject", subject, of_subject),
        ("group", group, of_group),
    ];
    let mut given = fields
        .into_iter()
        .filter_map(|(name, text, read)| Some((name, text.as_ref()?, read)));
    let (Some((name, text, read)), None) = (given.next(), given.next()) else {
        return Err(fault(
            allow,
            "allow: it needs one of uri, dns, subject and group, and not more",
        ));
    };
    if let Some(empty) = issuer.as_ref().filter(|issuer| issuer.get_ref().is_empty()) {
        return Err(fault(empty, "issuer: it is empty"));
    }
    read(
        text.get_ref(),
        issuer.as_ref().map(|issuer| issuer.get_ref().as_str()),
    )
    .map_err(|what| fault(text, format!("{name}: {what}")))
}

fn of_uri(text: &str, issuer: Option<&str>) -> Result<Who, &'static str> {
    if issuer.is_some() {
        Err(NO_ISSUER)
    } else {
        uri_pattern(text).map(Who::Uri)
    }
}

fn of_dns(text: &str, issuer: Option<&str>) -> Result<Who, &'static str> {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if issuer.is_some() {
        return Err(NO_ISSUER);
    }
    if text.is_empty() || !text.bytes().all(may_be) {
        return Err("it is one DNS name, without `*`");
    }
    Ok(Who::Dns(text.to_ascii_lowercase()))
}

fn of_subject(text: &str, issuer: Option<&str>) -> Result<Who, &'static str> {
    let pattern = if text.contains("://") {
        uri_pattern(text)
    } else {
        whole_parts(text)
    };
    Ok(Who::Subject(pattern?, issuer.map(str::to_owned)))
}

fn of_group(text: &str, issuer: Option<&str>) -> Result<Who, &'static str> {
    if text.is_empty() || text.contains('*') {
        return Err("it is the name of one group, without `*`");
    }
    Ok(Who::Group(text.to_owned(), issuer.map(str::to_owned)))
}

/// A pattern stays below an authority: `spiffe://site/ns/*`, not `spiffe://*`.
fn uri_pattern(text: &str) -> Result<Pattern, &'static str> {
    let pattern = whole_parts(text)?;
    let below = |start: &str| {
        start
            .split_once("://")
            .is_some_and(|(_, rest)| rest.find('/').is_some_and(|at| at > 0))
    };
    match &pattern {
        Pattern::Exactly(uri) if !uri.contains(':') => Err("it has no scheme, as `spiffe://`"),
        Pattern::Begins(start) if !below(start) => {
            Err("`*` has to follow a host and a `/`, as in `spiffe://site/ns/*`")
        }
        Pattern::Exactly(_) | Pattern::Begins(_) => Ok(pattern),
    }
}

/// What a `*` stands for begins after a separator: `ns/im/*` is not `ns/im-test/x`.
fn whole_parts(text: &str) -> Result<Pattern, &'static str> {
    if !is_printable(text) {
        return Err("it is empty or not printable ASCII");
    }
    let pattern = Pattern::parse(text)?;
    match &pattern {
        Pattern::Begins(start) if !start.ends_with(['/', ':']) => {
            Err("`*` has to follow a `/` or a `:`")
        }
        Pattern::Exactly(_) | Pattern::Begins(_) => Ok(pattern),
    }
}

/// What a role needs, and no other has.
fn of_role<T: Default>(
    roles: &Spanned<BTreeSet<Role>>,
    role: Role,
    texts: Option<Texts>,
    name: &str,
    read: impl Fn(&str, &[Spanned<String>]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let wanted = roles.get_ref().contains(&role);
    let role = role.name();
    match texts {
        Some(texts) if !wanted => Err(fault(&texts, format!("{name}: it needs the role {role}"))),
        Some(texts) if texts.get_ref().is_empty() => {
            Err(fault(&texts, format!("{name}: it is empty")))
        }
        Some(texts) => read(name, texts.get_ref()),
        None if wanted => Err(fault(roles, format!("roles: {role} needs {name}"))),
        None => Ok(T::default()),
    }
}

fn kinds(name: &str, texts: &[Spanned<String>]) -> Result<BTreeSet<Kind>, Fault> {
    if let [all] = texts
        && all.get_ref() == "*"
    {
        return Ok(Kind::ALL.into());
    }
    let known = || Kind::ALL.map(Kind::name).join(", ");
    texts
        .iter()
        .map(|text| {
            let kind = Kind::of_name(text.get_ref());
            kind.ok_or_else(|| {
                fault(
                    text,
                    format!(
                        "{name}: {:?} is none of {}; or [\"*\"] alone",
                        text.get_ref(),
                        known()
                    ),
                )
            })
        })
        .collect()
}

fn gateway_ids(name: &str, texts: &[Spanned<String>]) -> Result<Vec<Pattern>, Fault> {
    texts
        .iter()
        .map(|text| match Pattern::parse(text.get_ref()) {
            Ok(Pattern::Exactly(id)) if id.is_empty() => {
                Err(fault(text, format!("{name}: one is empty")))
            }
            Ok(pattern) => Ok(pattern),
            Err(what) => Err(fault(text, format!("{name}: {what}"))),
        })
        .collect()
}

fn fault<T>(at: &Spanned<T>, what: impl Into<String>) -> Fault {
    Fault {
        at: at.span(),
        what: what.into(),
    }
}

impl From<LimitsOfEntry> for Limits {
    fn from(limits: LimitsOfEntry) -> Self {
        Self {
            streams: limits.streams.map(NonZeroU32::get),
            calls_per_second: limits.calls_per_second.map(NonZeroU32::get),
            ids_per_second: limits.ids_per_second.map(NonZeroU32::get),
            published_per_second: limits.published_per_second.map(NonZeroU32::get),
        }
    }
}
