//! Bodies that were read in different ways, or not at all, by those who should have agreed; and what
//! we write, beside what was recorded of the C++ RouteServer.

use route_dialect::{
    AnswerTo, BUILT_IN, BodyError, Class, Concerned, Dialect, Forwarded, ReadReceipt, Report,
    Status, StatusAnswer, StatusQuery,
};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(|pair| byte(pair).expect("hex")).collect()
}

fn read(dialect: &Dialect, id: u16, body: &[u8]) -> Result<Concerned, BodyError> {
    let read = dialect.read_forwarded(id, body).expect("it is forwarded")?;
    Ok(dialect.concerned(id, read))
}

fn users(ids: &[u32]) -> Result<Concerned, BodyError> {
    Ok(Concerned::Users(ids.to_vec()))
}

#[test]
fn what_proto3_leaves_out_is_zero() {
    let lenient = Dialect::standard().lenient();
    let receipt = hex("080210092001");
    let expected = ReadReceipt {
        user_id: 2,
        conversation_id: 9,
        message_id: 0,
        conversation: 1,
    };
    let read = lenient.read_forwarded(0x0304, &receipt);
    assert_eq!(read, Some(Ok(Forwarded::ReadReceipt(expected))));
    let p2p = hex("08011002");
    assert_eq!(self::read(&lenient, 0x0601, &p2p), users(&[1, 2]));
    let strict = Dialect::standard();
    let missing = BodyError::Missing("message_id");
    assert_eq!(self::read(&strict, 0x0304, &receipt), Err(missing));
}

#[test]
fn a_message_of_an_unknown_type_is_read_and_bit_0x10_says_of_what() {
    let strict = Dialect::standard();
    let single = hex("08011002180120012803320178");
    assert_eq!(read(&strict, 0x0301, &single), users(&[1, 2]));
    let group = hex("08011002180120012813320178");
    assert_eq!(read(&strict, 0x0301, &group), Ok(Concerned::Reporters));
}

/// As C++ reads it: what is not of the enum does not count.
#[test]
fn a_known_type_of_message_counts_before_others() {
    let strict = Dialect::standard();
    for types in ["28112803", "28032811"] {
        let message = hex(&format!("0801100218012001{types}320178"));
        assert_eq!(read(&strict, 0x0301, &message), Ok(Concerned::Reporters));
    }
}

#[test]
fn text_need_not_be_utf_8() {
    let strict = Dialect::standard();
    let file = hex("080110021a04cec4bcfe20012a017438024001");
    assert_eq!(read(&strict, 0x0508, &file), users(&[2]));
    let signature = hex("08011204c7a9c3fb");
    assert_eq!(read(&strict, 0x0215, &signature), Ok(Concerned::Sessions));
}

#[test]
fn fields_of_another_wire_type_are_unknown_ones() {
    let strict = Dialect::standard();
    // attach_data as a number
    let message = hex("08011002180120012801320178a00102");
    assert_eq!(read(&strict, 0x0301, &message), users(&[1, 2]));
    // message_id a second time, as text
    let receipt = hex("080210091801 20011a0161".replace(' ', "").as_str());
    assert_eq!(read(&strict, 0x0304, &receipt), users(&[2]));
    // no content, and something long
    let message = hex("08011002180120012801800178");
    let missing = BodyError::Missing("content");
    assert_eq!(read(&strict, 0x0301, &message), Err(missing));
}

#[test]
fn a_fork_with_app_ids_is_refused_without_its_dialect() {
    let list = hex("0a0908d904100118032001");
    let strict = Dialect::standard();
    let mut entries = Vec::new();
    let refused = strict.read_list(&list, |entry| entries.push(entry));
    assert_eq!(refused, Err(BodyError::Value("client_type")));

    let own = include_str!("../../../docs/dialects/app-id.toml");
    let own = Dialect::parse(own).expect("it can be read");
    assert_eq!(own.read_list(&list, |entry| entries.push(entry)), Ok(()));
    let expected = Report {
        user_id: 601,
        client_type: 3,
        status: Status::Online,
    };
    assert_eq!(entries, [expected]);
}

#[test]
fn a_field_that_is_nowhere_takes_no_field_of_number_zero() {
    // Tag 2: field 0, a string.
    let body = hex("0203616263080210091801");
    let strict = Dialect::standard();
    let missing = BodyError::Missing("conversation");
    assert_eq!(read(&strict, 0x0304, &body), Err(missing));
}

#[test]
fn a_field_may_say_whether_a_message_is_for_a_group() {
    let some = "name = \"some\"\nbase = \"teamtalk\"\n[fields.message]\nconversation = 10";
    let some = Dialect::parse(some).expect("it can be read");
    let of = |conversation: &str| hex(&format!("08011002180120012801320178{conversation}"));
    assert_eq!(read(&some, 0x0301, &of("5002")), Ok(Concerned::Reporters));
    assert_eq!(read(&some, 0x0301, &of("5001")), users(&[1, 2]));
    assert_eq!(read(&some, 0x0301, &of("")), users(&[1, 2]));
}

#[test]
fn what_is_published_is_written_with_what_the_fork_requires() {
    let some = "name = \"some\"\nbase = \"teamtalk\"\n[commands]\nkick_user = 0x080d\n\
                [fields.kick_user]\nreason = 4\n[constants.kick_user]\n3 = 1200";
    let some = Dialect::parse(some).expect("it can be read");
    let mut published = Vec::new();
    let kick = Forwarded::KickUser(route_dialect::Kick {
        user_id: 7,
        client_type: 1,
        reason: 2,
    });
    assert!(Dialect::published().write_forwarded(&mut published, &kick));

    let mut written = Vec::new();
    assert!(some.write_published(&mut written, &published));

    // The service is the command's in TeamTalk.
    let expected = hex("000000190001000000070 80d00000000080710012002 18b009"
        .replace(' ', "")
        .as_str());
    assert_eq!(written, expected);
}

#[test]
fn what_a_played_msg_server_writes_is_read_in_its_dialect() {
    const HEADER: usize = 16;
    for (name, _) in BUILT_IN {
        let dialect = Dialect::named(name).expect("a built-in one");
        let report = |user_id| Report {
            user_id,
            client_type: dialect.client_type(Class::Mobile).expect("a type"),
            status: Status::Offline,
        };
        let (mut list, mut read) = (Vec::new(), Vec::new());
        assert!(dialect.write_list(&mut list, &[7, 300].map(report)));
        let each = |report| read.push(report);
        assert_eq!(dialect.read_list(&list[HEADER..], each), Ok(()), "{name}");
        assert_eq!(read, [7, 300].map(report), "{name}");

        let query = StatusQuery {
            requester: 7,
            user_ids: vec![8, 9],
            attach_data: b"nonce",
        };
        let mut asked = Vec::new();
        assert!(dialect.write_query(&mut asked, 5, &query));
        assert_eq!(dialect.read_query(&asked[HEADER..]), Ok(query), "{name}");

        let answer = AnswerTo {
            sequence: 5,
            requester: 7,
            user_ids: &[8, 9],
            attach_data: b"nonce",
        };
        let mut told = Vec::new();
        dialect.write_status_answer(&mut told, answer, [true, false]);
        let read = StatusAnswer {
            users: vec![(8, true), (9, false)],
            attach_data: b"nonce",
        };
        let answered = dialect.read_status_answer(&told[HEADER..]);
        assert_eq!(answered, Ok(read), "{name}");
    }
    let nowhere = Dialect::named("teamtlak").expect_err("neither");
    assert!(nowhere.starts_with("it is none of teamtalk, proto3, 0x08xx, and as a file: "));
}

#[test]
fn the_heartbeat_is_the_one_that_was_recorded() {
    let heartbeat = hex("00000010000100000007070100000000");
    assert_eq!(Dialect::standard().heartbeat()[..], heartbeat);
}

#[test]
fn an_answer_is_the_one_that_was_recorded() {
    let mut out = Vec::new();
    // Two users asked for, among them the largest id; no attach_data in the request.
    let answer = AnswerTo {
        sequence: 1,
        requester: 0xffff_ffff,
        user_ids: &[0, 0xffff_ffff, 0xffff_fffe],
        attach_data: b"",
    };
    Dialect::standard().write_status_answer(&mut out, answer, [true, true, false]);

    let recorded = "00000033000100000002020b0001000008ffffffff0f120408001001\
                    120808ffffffff0f1001120808feffffff0f1002a20100";
    assert_eq!(out, hex(recorded));
}

#[test]
fn notices_are_the_ones_that_were_recorded() {
    let mut out = Vec::new();
    let standard = Dialect::standard();
    standard.write_desktop_login_notice(&mut out, 0xffff_ffff, true);
    standard.write_status_notice(&mut out, 0, Status::Offline);

    let recorded = "00000018000100000007070e0000000008ffffffff0f1001\
                    000000160001000000020203000000000a0408001002";
    assert_eq!(out, hex(recorded));
}

#[test]
fn a_message_within_another_may_be_longer_than_usual() {
    let text = "x".repeat(200);
    let some =
        format!("name = \"some\"\nbase = \"teamtalk\"\n[constants.user_status]\n9 = \"{text}\"");
    let some = Dialect::parse(&some).expect("it can be read");
    let mut out = Vec::new();
    some.write_status_notice(&mut out, 7, Status::Away);

    let inner = 4 + 3 + text.len();
    let length = [0x80 | (inner & 0x7f) as u8, (inner >> 7) as u8];
    let body = [
        &[0x0a][..],
        &length,
        &hex("080710034ac801"),
        text.as_bytes(),
    ]
    .concat();
    assert_eq!(out[16..], body);
    assert_eq!(usize::from(out[3]), out.len());
}
