use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::certificate::Certificate;

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|it| (*it).to_owned()).collect()
}

fn with_certificate(uris: &[&str], dns: &[&str]) -> Identity {
    let certificate = Certificate {
        uris: owned(uris),
        dns: owned(dns),
        not_after: SystemTime::UNIX_EPOCH,
    };
    Identity {
        certificate: Some(certificate),
        token: None,
    }
}

fn with_token(subject: &str, groups: &[&str], issuer: Option<&str>) -> Identity {
    let (subject, groups, issuer) = (subject.to_owned(), owned(groups), issuer.map(str::to_owned));
    Identity {
        certificate: None,
        token: Some(Token {
            subject,
            groups,
            issuer,
            expires: SystemTime::UNIX_EPOCH,
        }),
    }
}

fn policy(entries: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{entries}")).unwrap()
}

fn roles(rights: &Rights) -> Vec<Role> {
    rights.roles().collect()
}

/// A policy whose one entry is for somebody.
fn is_reader(who: &str, identity: &Identity) -> bool {
    policy(&format!("[[allow]]\n{who}\nroles = [\"reader\"]"))
        .rights(identity)
        .has(Role::Reader)
}

// What is allowed

/// Those for which this holds.
fn kinds(may: impl Fn(Kind) -> bool) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|it| may(*it)).collect()
}

#[test]
fn the_pages_example_is_a_policy() {
    let page = include_str!("../../../../docs/policy.md");
    let examples: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|it| it.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        Policy::parse(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_page_names_every_role_and_kind() {
    let page = include_str!("../../../../docs/policy.md");
    for name in Role::ALL
        .map(Role::name)
        .into_iter()
        .chain(Kind::ALL.map(Kind::name))
    {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn kinds_are_those_of_the_api() {
    let proto = include_str!("../../../../proto/teamtalk/route/v1/broadcast.proto");
    let body = proto
        .split("oneof body {")
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    let fields: Vec<&str> = body
        .lines()
        .filter(|it| it.contains('='))
        .filter_map(|it| it.split_whitespace().nth(1))
        .collect();
    assert_eq!(fields, Kind::ALL.map(Kind::name));
    for kind in Kind::ALL {
        let line = format!(
            "EVENT_KIND_{} = {};",
            kind.name().to_uppercase(),
            kind as i32
        );
        assert!(proto.contains(&line), "{line}");
    }
}

#[test]
fn who_is_not_named_may_nothing() {
    let policy = policy("[[allow]]\nuri = \"spiffe://site/a\"\nroles = [\"admin\"]");
    for identity in [
        Identity::default(),
        with_certificate(&[], &[]),
        with_token("spiffe://site/a", &["spiffe://site/a"], None),
    ] {
        assert_eq!(policy.rights(&identity), Rights::none());
    }
    assert_eq!(
        Policy::parse("version = 1\nallow = []")
            .unwrap()
            .rights(&Identity::default()),
        Rights::none()
    );
}

#[test]
fn a_uri_is_matched_whole_or_by_its_first_parts() {
    let is = |pattern: &str, uri: &str| {
        is_reader(
            &format!("uri = \"{pattern}\""),
            &with_certificate(&["urn:x", uri], &[]),
        )
    };
    assert!(is("spiffe://site/ns/im", "spiffe://site/ns/im"));
    assert!(!is("spiffe://site/ns/im", "spiffe://site/ns/im/sa/push"));
    assert!(!is("spiffe://site/ns/im", "SPIFFE://site/ns/im"));
    assert!(is("spiffe://site/ns/im/*", "spiffe://site/ns/im/sa/push"));
    assert!(!is("spiffe://site/ns/im/*", "spiffe://site/ns/im/"));
    assert!(!is(
        "spiffe://site/ns/im/*",
        "spiffe://site/ns/im-test/sa/push"
    ));
    assert!(!is("spiffe://site/*", "spiffe://site.evil/x"));
}

#[test]
fn a_dns_name_is_matched_whole_in_any_case() {
    assert!(is_reader(
        "dns = \"Push.Site\"",
        &with_certificate(&[], &["a.site", "push.site"])
    ));
    assert!(!is_reader(
        "dns = \"site\"",
        &with_certificate(&[], &["push.site", "*.site"])
    ));
}

#[test]
fn a_subject_or_group_may_be_bound_to_an_issuer() {
    let subject = "subject = \"system:serviceaccount:im:*\"";
    let of_issuer = format!("{subject}\nissuer = \"https://k8s\"");
    let push = |issuer| with_token("system:serviceaccount:im:push", &["archive"], issuer);
    assert!(is_reader(subject, &push(None)) && is_reader(subject, &push(Some("https://other"))));
    assert!(is_reader(&of_issuer, &push(Some("https://k8s"))));
    assert!(
        !is_reader(&of_issuer, &push(None)) && !is_reader(&of_issuer, &push(Some("https://k8s/")))
    );
    assert!(!is_reader(
        subject,
        &with_token("system:serviceaccount:im", &[], None)
    ));
    assert!(
        is_reader("group = \"archive\"", &push(None))
            && !is_reader("group = \"arch\"", &push(None))
    );
    assert!(!is_reader(
        "group = \"archive\"\nissuer = \"https://k8s\"",
        &push(Some("https://other"))
    ));
}

#[test]
fn chat_is_not_kick() {
    let rights = policy("[[allow]]\nsubject = \"push\"\nroles = [\"publisher\", \"listener\"]\npublish = [\"chat_message\"]\nsubscribe = [\"kick\", \"status_change\"]")
        .rights(&with_token("push", &[], None));
    assert_eq!(kinds(|it| rights.may_publish(it)), [Kind::ChatMessage]);
    assert_eq!(
        kinds(|it| rights.may_hear(it)),
        [Kind::Kick, Kind::StatusChange]
    );
    assert!(rights.may_publish(Kind::ChatMessage) && !rights.may_publish(Kind::Kick));
    assert!(rights.may_hear(Kind::Kick) && !rights.may_hear(Kind::ChatMessage));
    assert!(!rights.may_attach("im") && !rights.has(Role::Reader));
}

#[test]
fn a_gateway_has_the_ids_of_its_patterns() {
    let rights = policy("[[allow]]\ndns = \"gw.site\"\nroles = [\"gateway\"]\ngateway_ids = [\"im-gateway-*\", \"old\"]")
        .rights(&with_certificate(&[], &["gw.site"]));
    for (id, may) in [
        ("im-gateway-0", true),
        ("im-gateway-", false),
        ("old", true),
        ("older", false),
        ("", false),
    ] {
        assert_eq!(rights.may_attach(id), may, "{id}");
    }
}

#[test]
fn rights_of_all_entries_add_up_and_the_larger_limit_counts() {
    let policy = policy(
        r#"
        [[allow]]
        uri = "spiffe://site/push"
        roles = ["publisher"]
        publish = ["chat_message"]
        limits = { streams = 4, calls_per_second = 10, published_per_second = 7 }
        [[allow]]
        group = "archive"
        roles = ["publisher", "admin"]
        publish = ["kick"]
        limits = { streams = 2, calls_per_second = 20, ids_per_second = 5 }
        [[allow]]
        subject = "archive-1"
        roles = ["listener"]
        subscribe = ["*"]
        "#,
    );
    let mut both = with_certificate(&["spiffe://site/push"], &[]);
    both.token = with_token("archive-1", &["archive"], None).token;
    let rights = policy.rights(&both);
    assert_eq!(
        roles(&rights),
        [Role::Reader, Role::Listener, Role::Publisher, Role::Admin]
    );
    assert_eq!(
        kinds(|it| rights.may_publish(it)),
        [Kind::ChatMessage, Kind::Kick]
    );
    assert_eq!(kinds(|it| rights.may_hear(it)), Kind::ALL);
    let limits = Limits {
        streams: Some(4),
        calls_per_second: Some(20),
        ids_per_second: Some(5),
        published_per_second: Some(7),
    };
    assert_eq!(rights.limits(), limits);
    assert_eq!(policy.entry_count(), 3);
}

#[test]
fn insecure_is_never_admin_or_node() {
    let insecure = Rights::insecure();
    assert_eq!(
        roles(&insecure),
        [Role::Reader, Role::Listener, Role::Publisher, Role::Gateway]
    );
    assert_eq!(roles(&Rights::everything()), Role::ALL);
    for rights in [insecure, Rights::everything()] {
        assert!(
            Kind::ALL
                .into_iter()
                .all(|kind| rights.may_hear(kind) && rights.may_publish(kind))
        );
        assert!(rights.may_attach("any") && rights.limits() == Limits::default());
    }
    assert!(roles(&Rights::none()).is_empty() && !Rights::none().may_attach("any"));
}

// What is refused

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_line_and_field() {
    let table = r#"
        # nothing                                          | 1 | missing field `version`
        version = 2; allow = []                            | 1 | version: 1 is the only one
        version = 1                                        | 1 | allow: there is none
        version = 1; allow = []; deny = []                 | 3 | deny: unknown field `deny`
        version = 1; [[allow]                              | 2 | unclosed
        version = 1; ; [[allow]]; roles = ["reader"]       | 3 | allow: it needs one of uri, dns, subject and group
        version = 1; ; [[allow]]; subject = "a"            | 3 | missing field `roles`
    "#;
    for [text, line, what] in rows(table) {
        assert_refused(&lines(text), line, what);
    }
}

#[test]
fn an_entry_that_cannot_be_meant_is_refused_with_line_and_field() {
    let table = r#"
        subject = "a"; dns = "a"            | 2 | allow: it needs one of uri, dns, subject and group, and not more
        uri = "urn:a"; issuer = "https://a" | 3 | uri: certificates have no issuer
        dns = "a"; issuer = "https://a"     | 3 | dns: certificates have no issuer
        issuer = ""; group = "a"            | 3 | issuer: it is empty
        uri = "*"                           | 3 | uri: `*` has to follow a `/` or a `:`
        uri = "spiffe://*"                  | 3 | uri: `*` has to follow a host and a `/`
        uri = "spiffe:*"                    | 3 | uri: `*` has to follow a host and a `/`
        uri = "spiffe:///*"                 | 3 | uri: `*` has to follow a host and a `/`
        uri = "spiffe://site/a*"            | 3 | uri: `*` has to follow a `/` or a `:`
        uri = "spiffe://*/a"                | 3 | uri: `*` may only be its last character
        uri = "gateway"                     | 3 | uri: it has no scheme
        uri = ""                            | 3 | uri: it is empty or not printable ASCII
        dns = "*.site"                      | 3 | dns: it is one DNS name, without `*`
        dns = ""                            | 3 | dns: it is one DNS name, without `*`
        subject = ""                        | 3 | subject: it is empty or not printable ASCII
        subject = "*"                       | 3 | subject: `*` has to follow a `/` or a `:`
        subject = "https://*"               | 3 | subject: `*` has to follow a host and a `/`
        group = "arch*"                     | 3 | group: it is the name of one group, without `*`
        group = ""                          | 3 | group: it is the name of one group, without `*`
        group = 3                           | 3 | group: invalid type: integer `3`, expected a string
        user = "a"                          | 3 | user: unknown field `user`
    "#;
    for [who, line, what] in rows(table) {
        assert_refused(
            &format!(
                "version = 1\n[[allow]]\n{}\nroles = [\"reader\"]",
                lines(who)
            ),
            line,
            what,
        );
    }
}

#[test]
fn roles_have_what_they_need_and_nothing_else() {
    let table = r#"
        roles = []                                         | 4 | roles: there is none
        roles = ["boss"]                                   | 4 | roles: unknown variant `boss`, expected one of `reader`
        roles = ["gateway"]                                | 4 | roles: gateway needs gateway_ids
        roles = ["publisher"]                              | 4 | roles: publisher needs publish
        roles = ["listener"]                               | 4 | roles: listener needs subscribe
        roles = ["reader"]; gateway_ids = ["a"]            | 5 | gateway_ids: it needs the role gateway
        roles = ["reader"]; publish = ["kick"]             | 5 | publish: it needs the role publisher
        roles = ["admin"]; subscribe = ["kick"]            | 5 | subscribe: it needs the role listener
        roles = ["gateway"]; gateway_ids = []              | 5 | gateway_ids: it is empty
        roles = ["gateway"]; gateway_ids = ["a",; ""]      | 6 | gateway_ids: one is empty
        roles = ["gateway"]; gateway_ids = ["*-a"]         | 5 | gateway_ids: `*` may only be its last character
        roles = ["publisher"]; publish = [; "kick",; "no"] | 7 | publish: "no" is none of chat_message, p2p_command
        roles = ["publisher"]; publish = ["*", "kick"]     | 5 | publish: "*" is none of chat_message, p2p_command
        roles = ["reader"]; limits = { streams = 0 }       | 5 | limits: invalid value: integer `0`
        roles = ["reader"]; limits = { stream = 1 }        | 5 | limits: unknown field `stream`
        roles = ["reader"]; limits = { streams = 4294967296 } | 5 | limits: invalid value: integer `4294967296`
    "#;
    for [fields, line, what] in rows(table) {
        assert_refused(
            &format!("version = 1\n[[allow]]\nsubject = \"a\"\n{}", lines(fields)),
            line,
            what,
        );
    }
}

fn assert_refused(text: &str, line: &str, what: &str) {
    let error = Policy::parse(text).expect_err(text).to_string();
    assert!(
        error.starts_with(&format!("line {line}: {what}")),
        "{error}\n{text}"
    );
}

/// A table's rows; `|` stands between their fields.
fn rows<const N: usize>(table: &str) -> Vec<[&str; N]> {
    let rows = table.lines().filter(|row| !row.trim().is_empty());
    rows.map(|row| {
        row.split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .try_into()
            .expect(row)
    })
    .collect()
}

/// Lines of a file; `;` ends each.
fn lines(row: &str) -> String {
    row.split(';').map(str::trim).collect::<Vec<_>>().join("\n")
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), value in "[\"a-z*=\\[\\]{}\\n:/ ]{0,30}") {
        prop_assert!(Policy::parse(&text).is_err());
        let _ = Policy::parse(&format!("version = 1\n[[allow]]\n{value}"));
    }
}
