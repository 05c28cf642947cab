//! Definitions of dialects: which there are, what they say when they are wrong, and that a node gets
//! the same dialect as its gateway has.

use route_dialect::{BUILT_IN, Class, Dialect, MAX_DEFINITION};

const APP_ID: &str = include_str!("../../../docs/dialects/app-id.toml");

#[test]
fn a_definition_that_was_told_makes_the_same_dialect() {
    let built_in = BUILT_IN.map(|(name, _)| Dialect::built_in(name).expect("it is built in"));
    let own = Dialect::parse(APP_ID).expect("it can be read");
    for dialect in built_in.iter().chain([&own]) {
        for dialect in [
            dialect.clone(),
            dialect.clone().lenient(),
            dialect.clone().with_client_types(&[0x13, 0x21]),
        ] {
            let told = Dialect::parse(&dialect.definition());
            assert_eq!(told, Ok(dialect));
        }
    }
}

#[test]
fn built_in_ones_are_called_what_they_are() {
    for (name, _) in BUILT_IN {
        assert_eq!(
            Dialect::built_in(name).expect("it is built in").name(),
            name
        );
    }
    assert!(Dialect::built_in("klingon").is_none());
}

#[test]
fn only_those_that_write_otherwise_have_what_is_published_rewritten() {
    let takes = |dialect: Dialect| dialect.takes_published();
    assert!(takes(Dialect::standard().with_client_types(&[0x13])));
    assert!(takes(Dialect::built_in("proto3").expect("it is built in")));
    assert!(!takes(Dialect::built_in("0x08xx").expect("it is built in")));
    assert!(!takes(Dialect::parse(APP_ID).expect("it can be read")));
}

#[test]
fn classes_are_as_the_definition_says() {
    let own = Dialect::parse(APP_ID).expect("it can be read");
    let standard = Dialect::standard().with_client_types(&[0x13, 0x21]);
    let lenient = Dialect::standard().lenient();
    for (dialect, client_type, class) in [
        (&own, 23, Some(Class::Desktop)),
        (&own, 1, Some(Class::Mobile)),
        (&own, 0x12, None),
        (&standard, 1, Some(Class::Desktop)),
        (&standard, 0x13, Some(Class::Mobile)),
        (&standard, 0x21, Some(Class::Desktop)),
        (&standard, 0x22, None),
        (&lenient, 0, Some(Class::Desktop)),
        (&lenient, 0x33, Some(Class::Mobile)),
        (&lenient, 0x100, None),
    ] {
        assert_eq!(dialect.class(client_type), class, "{client_type:#x}");
    }
}

#[test]
fn groups_are_as_the_definition_says_else_bit_0x10() {
    let some = "name = \"some\"\nbase = \"teamtalk\"\n\
                [message_types]\nsingle = [1, 0x13]\ngroup = [0x11, 0x88]";
    let some = Dialect::parse(some).expect("it can be read");
    for (message_type, group, known) in [
        (1, false, true),
        (0x13, false, true),
        (0x88, true, true),
        (0x90, true, false),
        (3, false, false),
    ] {
        assert_eq!(some.is_of_group(message_type), group, "{message_type:#x}");
        assert_eq!(some.has_message_type(message_type), known);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_wrong_definition_says_what_is_wrong() {
    for (lines, says) in [
        ("base = \"klingon\"", "none of teamtalk, proto3, 0x08xx"),
        ("bose = \"teamtalk\"", "unknown field `bose`"),
        ("syntax = \"proto4\"", "unknown variant `proto4`"),
        (
            "[commands]\nkick = 1",
            "\"kick\" is none of heartbeat, role_set,",
        ),
        ("[commands]\nkick_user = 70000", "70000"),
        (
            "[commands]\nkick_user = 0x0301",
            "0x0301 stands for two commands",
        ),
        (
            "[forward]\n0x0301 = \"others\"",
            "0x0301 stands for two commands",
        ),
        (
            "[forward]\n0x0900 = \"friends\"",
            "unknown variant `friends`",
        ),
        (
            "[forward]\n0x0900 = { users = [] }",
            "names no field of users",
        ),
        (
            "[forward]\n0x0900 = { users = [0] }",
            "0 is no field number",
        ),
        ("[forward]\n70000 = \"others\"", "70000 is no command id"),
        (
            "[forward]\n0x0301 = \"nobody\"",
            "0x0301 is message; 0 in commands takes it out",
        ),
        ("[commands]\nheartbeat = 0", "without heartbeat"),
        ("[forward]\nkick = \"others\"", "\"kick\" is no number"),
        ("[fields.kick]\nreason = 4", "\"kick\" is none of role_set,"),
        (
            "[fields.kick_user]\nwhy = 4",
            "\"why\" is none of user_id, client_type, reason",
        ),
        (
            "[fields.kick_user]\nreason = 2",
            "two fields have one number",
        ),
        ("[fields.kick_user]\nreason = 0x20000000", "no field number"),
        (
            "[fields.signature_changed]\nsignature = { number = 2, default = 1 }",
            "can have no default",
        ),
        (
            "[fields.online_user]\nclient_type = { number = 3, default = 99 }",
            "fields.online_user.client_type needs a default that is a value of it",
        ),
        (
            "[fields.online_user]\nclient_type = 0",
            "fields.online_user.client_type needs a default",
        ),
        ("[constants.kick_user]\n0 = 1", "0 is no field number"),
        ("[constants.kick_user]\n2 = 1", "stands for client_type"),
        (
            "[client_types]\ndesktop = [1]\nmobile = [1]",
            "0x01 stands twice",
        ),
        (
            "[message_types]\nsingle = [1]\ngroup = [1]",
            "0x01 is both single and group",
        ),
    ] {
        let base = if lines.starts_with("base") {
            ""
        } else {
            "base = \"teamtalk\"\n"
        };
        let error = Dialect::parse(&format!("name = \"some\"\n{base}{lines}"));
        let error = error.expect_err(lines).to_string();
        assert!(error.contains(says), "{lines}: {error}");
    }
    assert!(Dialect::parse("name = \"some\"").is_err(), "it has no base");
    let name = Dialect::parse("name = \"a name\"\nbase = \"teamtalk\"");
    assert!(name.expect_err("a name").to_string().starts_with("name:"));
    let long = format!("name = \"some\"\n#{}", "x".repeat(MAX_DEFINITION));
    assert!(Dialect::parse(&long).is_err());
}

#[test]
fn what_a_base_forwards_can_be_taken_out() {
    let some = "name = \"some\"\nbase = \"0x08xx\"\n[forward]\n0x0815 = \"nobody\"";
    let some = Dialect::parse(some).expect("it can be read");
    assert!(some.read_forwarded(0x0815, b"").is_none());
    assert!(some.read_forwarded(0x0212, b"").is_some());
}

#[test]
fn a_definition_names_a_bounded_number_of_types() {
    let some = |count: u32| {
        let types: Vec<_> = (1..=count).map(|it| it.to_string()).collect();
        let types = types.join(",");
        let text =
            format!("name = \"some\"\nbase = \"teamtalk\"\n[message_types]\nsingle = [{types}]");
        Dialect::parse(&text)
    };
    assert!(some(256).is_ok());
    assert!(some(257).is_err());
}

#[test]
fn what_is_published_is_for_a_group_as_the_receivers_say() {
    let some = "name = \"some\"\nbase = \"teamtalk\"\n[message_types]\nsingle = [1, 0x13]\n\
                group = [5]\n[fields.message]\nconversation = 7";
    let some = Dialect::parse(some).expect("it can be read");
    for (message_type, conversation) in [(5, 2), (0x13, 1)] {
        let chat = route_dialect::Forwarded::Message(route_dialect::ChatMessage {
            from_user_id: 1,
            to_id: 2,
            of_group: conversation == 2,
            message_id: 1,
            create_time: 1,
            message_type,
            content: b"",
            attach_data: b"",
        });
        let mut published = Vec::new();
        assert!(Dialect::published().write_forwarded(&mut published, &chat));
        let mut written = Vec::new();
        assert!(some.write_published(&mut written, &published));
        let read = some.read_forwarded(0x0301, &written[16..]);
        assert_eq!(read, Some(Ok(chat)));
        assert!(!Dialect::standard().takes(&published));
    }
}
