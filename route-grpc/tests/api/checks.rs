//! Promise 8: what a gateway says that cannot be ends its stream, names the field, and costs nobody
//! else anything.

use bytes::Bytes;
use route_proto::attach::codec::MAX_PIECES;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, Delivery, DeliveryRun, Envelope, LinkClosed, LinkId, LinkOpened, Pause,
    RestoredLink, Returned, RoleReport, SessionList, SessionTable, SessionUpdate, StatusQuery,
    TakenMark, Uplink, UplinkEntry, delivery,
};
use route_proto::pdu::framed;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::played::{Played, caught_up, chat, hello, incarnation, numbered, opened};
use crate::site::Site;

/// Numbers have to be below.
const END: u64 = 1 << 63;

#[tokio::test]
async fn a_hello_that_cannot_be_is_refused_by_field() {
    let site = Site::start().await;
    let good = || hello("a", incarnation(), 1);
    let with = |change: &dyn Fn(&mut AttachHello)| {
        let mut hello = good();
        change(&mut hello);
        hello
    };
    for (hello, field) in [
        (with(&|it| it.gateway_id = String::new()), "gateway_id"),
        (with(&|it| it.gateway_id = "a\n".to_owned()), "gateway_id"),
        (with(&|it| it.incarnation = 0), "incarnation"),
        (with(&|it| it.incarnation = END), "incarnation"),
        (with(&|it| it.incarnation = u64::MAX), "incarnation"),
        (with(&|it| it.attempt = 0), "attempt"),
        (with(&|it| it.attempt = u64::MAX), "attempt"),
        (with(&|it| it.taken = END), "taken"),
        (with(&|it| it.position = END), "position"),
        (with(&|it| it.clock_micros = u64::MAX), "clock_micros"),
        (with(&|it| it.secret = Bytes::from(vec![7; 65])), "secret"),
        (with(&|it| it.description = "d".repeat(2000)), "description"),
        (with(&|it| it.roster = vec!["b".repeat(129)]), "roster"),
        (with(&|it| it.roster = vec!["b".to_owned(); 2000]), "roster"),
        (with(&|it| it.dialect = "{".to_owned()), "dialect"),
    ] {
        let refused = Played::attach_as(&site, hello).await.err().unwrap();

        assert_names(&refused, &format!("hello.{field}"));
    }
    Played::attach_as(&site, good()).await.unwrap();
}

#[tokio::test]
async fn an_entry_that_cannot_be_ends_the_stream_by_field_and_others_go_on() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    for (number, (entries, field)) in wrong_entries().into_iter().enumerate() {
        let mut stranger = Played::attach(&site, &format!("g{number}")).await;
        stranger.send_entries(entries).await;

        let ended = stranger.end().await.unwrap();
        assert_names(&ended, &format!("entries.{field}"));

        a.route(1, chat(1, 2, &number.to_be_bytes())).await;
        let expected = chat(1, 2, &number.to_be_bytes()).pdu;
        assert_eq!(b.delivery().await.pdu(), &expected, "after {field}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_ends_the_stream_by_field() {
    let site = Site::start().await;
    let nowhere = Pause {
        origin: None,
        on: true,
    };
    for (number, (uplink, field)) in [
        (
            Uplink {
                taken: 1000,
                ..Uplink::default()
            },
            "taken",
        ),
        (
            Uplink {
                clock_micros: END,
                ..Uplink::default()
            },
            "clock_micros",
        ),
        (caught_up(Vec::new()), "caught_up"),
        (
            Uplink {
                pauses: vec![nowhere],
                ..Uplink::default()
            },
            "pauses.origin",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stranger = Played::attach(&site, &format!("g{number}")).await;
        stranger.send(uplink).await;

        let ended = stranger.end().await.unwrap();
        assert_names(&ended, &format!("uplink.{field}"));
    }
}

/// Two bytes each on the wire, hundreds in memory.
#[tokio::test]
async fn a_message_of_too_many_pieces_is_refused_unread() {
    let site = Site::start().await;
    let mut stranger = Played::attach(&site, "g").await;
    let many = Uplink {
        entries: vec![UplinkEntry::default(); MAX_PIECES],
        ..Uplink::default()
    };
    stranger.send(many).await;

    let ended = stranger.end().await.unwrap();
    assert!(ended.message().contains("pieces"), "{ended}");
    assert_eq!(reason(&ended), "TOO_LARGE");
}

#[tokio::test]
async fn nobody_goes_on_with_another_one_s_life() {
    let site = Site::start().await;
    let own = AttachHello {
        secret: Bytes::from_static(b"a-secret"),
        ..hello("a", incarnation(), 1)
    };
    let mut victim = Played::attach_as(&site, own.clone()).await.unwrap();
    victim.send(caught_up(Vec::new())).await;

    for secret in ["", "a guess"] {
        let thief = AttachHello {
            secret: Bytes::from(secret),
            attempt: END - 1,
            ..own.clone()
        };
        let refused = Played::attach_as(&site, thief).await.err().unwrap();
        assert_eq!(reason(&refused), "GATEWAY_ID_IN_USE");
        assert!(!refused.message().contains("a-secret"), "{refused}");
    }

    victim.open_with(1, &[1]).await;
    victim.confirmed(1).await;
    let again = AttachHello { attempt: 2, ..own };
    let again = Played::attach_as(&site, again).await.unwrap();
    again.send(caught_up(Vec::new())).await;
    let superseded = victim.end().await.unwrap();
    assert_eq!(superseded.code(), Code::Aborted);
}

fn wrong_entries() -> Vec<(Vec<UplinkEntry>, &'static str)> {
    let at = numbered;
    let open = || at(1, 1, opened(0, 1));
    let second = |entry| vec![open(), at(1, 2, entry)];
    let peer = |peer: &str, msg_server: &str| {
        Entry::Opened(LinkOpened {
            peer: peer.to_owned(),
            msg_server: msg_server.to_owned(),
            ..LinkOpened::default()
        })
    };
    let claim = || Entry::Role(RoleReport { claimed: true });
    let last = END - 1;
    let nothing = UplinkEntry {
        link: 1,
        sequence: 1,
        ..UplinkEntry::default()
    };
    let mut wrong = vec![
        (vec![at(1, 1, claim())], "link"),
        (vec![at(0, 1, opened(0, 1))], "link"),
        (vec![at(END, 1, opened(0, 1))], "link"),
        (vec![at(1, 0, opened(0, 1))], "sequence"),
        (vec![at(1, END, restored())], "sequence"),
        (vec![at(1, 5, succeeds(9))], "opened.restored.predecessors"),
        (
            vec![
                at(1, last, restored()),
                at(1, last, table(&[])),
                at(1, END, claim()),
            ],
            "sequence",
        ),
        (vec![at(1, 2, opened(0, 1))], "link"),
        (vec![open(), at(1, 3, claim())], "sequence"),
        (second(opened(0, 1)), "sequence"),
        (vec![nothing], "entry"),
        (vec![at(1, 1, peer("nowhere", ""))], "opened.peer"),
        (
            vec![at(1, 1, peer("10.0.0.1:7", "a b"))],
            "opened.msg_server",
        ),
    ];
    wrong.extend(wrong_sessions(&second));
    wrong.extend(wrong_envelopes(&second));
    wrong.extend(wrong_returns());
    wrong
}

type Wrong = (Vec<UplinkEntry>, &'static str);

fn wrong_sessions(second: &dyn Fn(Entry) -> Vec<UplinkEntry>) -> Vec<Wrong> {
    let columns = |client_types: &[u32], status| {
        Entry::List(SessionList {
            user_ids: vec![1],
            client_types: client_types.to_vec(),
            statuses: vec![status],
            last: true,
        })
    };
    let update = |client_type, status| {
        Entry::Update(SessionUpdate {
            user_id: 1,
            client_type,
            status,
        })
    };
    let again = |table| vec![numbered(1, 5, restored()), numbered(1, 5, table)];
    let row = |state, logins| {
        Entry::Table(SessionTable {
            user_ids: vec![1],
            client_types: vec![1],
            states: vec![state],
            logins: vec![logins],
            last: true,
        })
    };
    let query = Entry::Query(StatusQuery {
        user_ids: vec![1],
        traceparent: "0".repeat(4 << 20),
    });
    vec![
        (second(columns(&[], 1)), "list"),
        (second(columns(&[300], 1)), "list.client_types"),
        (second(columns(&[1], 9)), "list.statuses"),
        (second(update(1, 0)), "update.status"),
        (second(update(70_000, 1)), "update.client_type"),
        (again(table(&[1])), "table"),
        (again(row(7, 1)), "table.states"),
        (again(row(1, 65_536)), "table.logins"),
        (second(query), "query.traceparent"),
    ]
}

fn wrong_envelopes(second: &dyn Fn(Entry) -> Vec<UplinkEntry>) -> Vec<Wrong> {
    let with = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = chat(1, 2, b"text");
        change(&mut envelope);
        second(Entry::Envelope(envelope))
    };
    let pdu = |pdu: &[u8]| with(&|it| it.pdu = Bytes::copy_from_slice(pdu));
    let whole = chat(1, 2, b"text").pdu;
    let claims = |length: u32| [&length.to_be_bytes()[..], &whole[4..]].concat();
    let limit = 16 << 20;
    let longest = framed(0x0301, 0, &vec![0; limit]);
    vec![
        (pdu(b""), "envelope.pdu"),
        (pdu(b"1234567"), "envelope.pdu"),
        (pdu(&claims(0)), "envelope.pdu"),
        (pdu(&claims(100)), "envelope.pdu"),
        (pdu(&claims(u32::MAX)), "envelope.pdu"),
        (pdu(&whole[..whole.len() - 1]), "envelope.pdu"),
        (pdu(&[&whole[..], &whole[..]].concat()), "envelope.pdu"),
        (pdu(&longest), "envelope.pdu"),
        (with(&|it| it.command = 0x0707), "envelope.command"),
        (with(&|it| it.command |= 1 << 16), "envelope.command"),
        (with(&|it| it.scope = 77), "envelope.scope"),
        (with(&|it| it.user_ids = vec![7; 5000]), "envelope.user_ids"),
        (
            with(&|it| it.traceparent = "0".repeat(4 << 20)),
            "envelope.traceparent",
        ),
    ]
}

fn wrong_returns() -> Vec<Wrong> {
    let after_close = |returned| {
        let closed = Entry::Closed(LinkClosed { reason: 1 });
        let returned = Entry::Returned(returned);
        vec![
            numbered(1, 1, opened(0, 1)),
            numbered(1, 2, closed),
            numbered(1, 3, returned),
        ]
    };
    let run = |number, position, sequence, payload| {
        let delivery = Delivery {
            sequence,
            payload,
            ..Delivery::default()
        };
        after_close(Returned {
            runs: vec![DeliveryRun {
                origin: Some(LinkId { gateway: 5, number }),
                position,
                deliveries: vec![delivery],
                ..DeliveryRun::default()
            }],
            ..Returned::default()
        })
    };
    let pdu = |bytes: &'static [u8]| Some(delivery::Payload::Pdu(Bytes::from_static(bytes)));
    let whole = || Some(delivery::Payload::Pdu(chat(1, 2, b"text").pdu));
    let marks = |count, sequence| {
        let mark = TakenMark {
            sequence,
            ..TakenMark::default()
        };
        after_close(Returned {
            taken: vec![mark; count],
            last: true,
            ..Returned::default()
        })
    };
    vec![
        (run(END, 1, 1, whole()), "returned.runs.origin"),
        (run(1, u64::MAX, 1, whole()), "returned.runs.position"),
        (
            run(1, 1, u64::MAX, whole()),
            "returned.runs.deliveries.sequence",
        ),
        (
            run(1, 1, 1, pdu(b"1234567")),
            "returned.runs.deliveries.pdu",
        ),
        (run(1, 1, 1, None), "returned.runs.deliveries"),
        (marks(1, END), "returned.taken.sequence"),
        (marks(65_537, 1), "returned.taken"),
    ]
}

fn restored() -> Entry {
    succeeds(0)
}

/// A restored link that has taken the place of so many.
fn succeeds(count: u64) -> Entry {
    let Entry::Opened(opened) = opened(0, 1) else {
        panic!("a link opens");
    };
    Entry::Opened(LinkOpened {
        restored: Some(RestoredLink {
            predecessors: (0..count)
                .map(|number| LinkId { gateway: 5, number })
                .collect(),
            ..RestoredLink::default()
        }),
        ..opened
    })
}

/// Of users without anything else.
fn table(user_ids: &[u32]) -> Entry {
    Entry::Table(SessionTable {
        user_ids: user_ids.to_vec(),
        last: true,
        ..SessionTable::default()
    })
}

pub(crate) fn assert_names(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
    assert_eq!(reason(status), "FIELD_INVALID");
    let details = status.get_error_details();
    let named = &details.bad_request().expect("BadRequest").field_violations;
    assert_eq!(named[0].field, field, "{status}");
}
