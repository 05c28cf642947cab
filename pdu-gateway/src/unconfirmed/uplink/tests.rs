use std::pin::Pin;
use std::task::Waker;

use bytes::Bytes;
use route_proto::attach::v1::{AttachRequest, Envelope, Uplink as UplinkMessage, attach_request};
use tokio_stream::Stream;

use super::outgoing::{MESSAGE_BYTES, MESSAGE_ENTRIES};
use super::*;

const NOW: Duration = Duration::from_millis(500);
const WINDOWS: Windows = Windows {
    link: 10_000,
    total: 15_000,
};
const UNLIMITED: Windows = Windows {
    link: usize::MAX,
    total: usize::MAX,
};

#[tokio::test]
async fn all_that_is_ready_goes_up_as_one_message() {
    let (uplink, mut stream) = with_a_link(WINDOWS, Keep::Contents);
    uplink.submit(1, &mut vec![message(10), message(10)]);
    uplink.took_over(NOW, 5);

    let message = next(&mut stream).unwrap();
    assert_eq!(sequences(&message), [(1, 1), (1, 2), (1, 3)]);
    assert_eq!(message.taken, 5);
    assert_eq!(next(&mut stream), None, "nothing is left");
}

#[test]
fn long_queues_are_cut_into_messages() {
    let (uplink, mut stream) = with_a_link(UNLIMITED, Keep::Contents);
    let mut deeds = vec![message(MESSAGE_BYTES + 1), message(MESSAGE_BYTES - 1000)];
    deeds.extend((0..=MESSAGE_ENTRIES).map(|_| message(10)));
    uplink.submit(1, &mut deeds);

    let lengths: Vec<usize> =
        std::iter::from_fn(|| next(&mut stream).map(|message| message.entries.len())).collect();

    assert_eq!(lengths[..2], [1, 1], "what does not fit goes alone");
    assert_eq!(lengths.iter().sum::<usize>(), MESSAGE_ENTRIES + 4);
    assert!(lengths.iter().all(|length| *length <= MESSAGE_ENTRIES));
}

/// A flood once left the queue empty and its size not, and the next news of another kind found nothing to take.
#[test]
fn an_empty_queue_weighs_nothing_after_a_flood() {
    for keep in [Keep::Contents, Keep::Counts] {
        let (uplink, mut stream) = with_a_link(UNLIMITED, keep);
        for round in 1..=3 {
            uplink.submit(1, &mut vec![query(40_000); 9]);
            let confirmed = confirmation(1, 9 * round);
            while next(&mut stream).is_some() {}
            uplink.confirm(&[confirmed]);

            uplink.took_over(NOW, round);

            let news = next(&mut stream).expect("there is something to tell");
            assert_eq!((news.entries.len(), news.taken), (0, round));
        }
    }
}

#[test]
fn a_full_window_holds_its_link_and_a_full_total_holds_all() {
    let uplink = Uplink::new(WINDOWS, Keep::Counts);
    let _stream = attached(&uplink);
    for link in 1..=3 {
        uplink.open(link, LinkOpened::default());
    }

    assert_eq!(uplink.submit(1, &mut vec![message(9_990)]), Room::Full);
    assert_eq!(uplink.submit(2, &mut vec![message(100)]), Room::Left);
    assert_eq!(uplink.submit(2, &mut vec![message(5_000)]), Room::Full);
    assert!(!has_room(&uplink, 3));

    uplink.confirm(&[confirmation(1, 2)]);
    assert!(has_room(&uplink, 1) && has_room(&uplink, 3));
}

#[test]
fn a_node_that_knows_nothing_is_told_everything() {
    let (uplink, mut old) = with_a_link(WINDOWS, Keep::Contents);
    uplink.submit(1, &mut vec![message(1)]);
    next(&mut old);
    uplink.detach();
    uplink.submit(1, &mut vec![message(2)]);
    assert_eq!(next(&mut old), None, "nothing is queued while detached");

    let mut new = uplink.stream(AttachHello::default());
    assert!(matches!(poll(&mut old), Poll::Ready(None)));
    assert!(poll(&mut new).is_ready(), "hello comes first");
    assert!(poll(&mut new).is_pending(), "nothing before the welcome");
    uplink.resume(&[]);

    assert_eq!(
        sequences(&next(&mut new).unwrap()),
        [(1, 1), (1, 2), (1, 3)]
    );
    assert_eq!(uplink.backlog().resent, 3);
}

#[test]
fn a_node_that_knows_the_links_gets_what_is_newer() {
    let uplink = Uplink::new(WINDOWS, Keep::Contents);
    let _old = attached(&uplink);
    uplink.open(1, LinkOpened::default());
    uplink.open(2, LinkOpened::default());
    uplink.submit(1, &mut vec![message(1), message(1)]);

    let mut new = uplink.stream(AttachHello::default());
    let _ = poll(&mut new);
    uplink.resume(&[confirmation(1, 2), confirmation(2, 1)]);

    let message = next(&mut new).unwrap();
    assert_eq!(sequences(&message), [(1, 3)]);
    assert!(message.caught_up);
}

#[test]
fn the_node_is_told_once_where_what_is_sent_again_ends() {
    let uplink = Uplink::new(UNLIMITED, Keep::Contents);
    let mut stream = uplink.stream(AttachHello::default());
    let _ = poll(&mut stream);
    uplink.open(1, LinkOpened::default());
    uplink.submit(1, &mut vec![message(MESSAGE_BYTES), message(1)]);

    uplink.resume(&[]);
    uplink.submit(1, &mut vec![message(MESSAGE_BYTES)]);

    let messages: Vec<_> = std::iter::from_fn(|| next(&mut stream)).collect();
    let caught_up: Vec<_> = messages.iter().map(|m| m.caught_up).collect();
    assert_eq!(caught_up, [false, false, true, false]);
}

#[tokio::test]
async fn a_link_is_finished_when_the_node_knows_that_nothing_more_comes_back() {
    let (uplink, mut stream) = with_a_link(WINDOWS, Keep::Contents);

    uplink.close(1, CloseReason::Peer, vec![DeliveryRun::default()]);
    assert_eq!(
        sequences(&next(&mut stream).unwrap()),
        [(1, 1), (1, 2), (1, 3)]
    );
    uplink.confirm(&[confirmation(1, 3)]);
    uplink.finish(1, Vec::new());
    assert_eq!(uplink.backlog().ledgers, 1);
    uplink.confirm(&[confirmation(1, 4)]);

    uplink.all_finished().await;
    assert_eq!(uplink.backlog().bytes, 0);
}

#[test]
fn the_clock_is_told_once_a_second() {
    let uplink = Uplink::new(WINDOWS, Keep::Contents);
    let mut stream = attached(&uplink);
    let mut number = 0;
    let mut told = |stream: &mut UplinkStream, millis| {
        number += 1;
        uplink.took_over(Duration::from_millis(millis), number);
        next(stream).unwrap().clock_micros
    };

    let first = [500, 1000, 1999].map(|millis| told(&mut stream, millis));
    assert_eq!(first, [0, 1_000_000, 0]);

    // The hello of the next stream tells it.
    let mut stream = attached(&uplink);
    let then = [2500, 2999].map(|millis| told(&mut stream, millis));
    assert_eq!(then, [0, 2_999_000]);
}

#[test]
fn an_ending_stream_sends_what_there_is() {
    let (uplink, mut stream) = with_a_link(WINDOWS, Keep::Contents);

    uplink.end_stream();

    assert!(next(&mut stream).is_some());
    assert!(matches!(poll(&mut stream), Poll::Ready(None)));
}

fn with_a_link(windows: Windows, keep: Keep) -> (Arc<Uplink>, UplinkStream) {
    let uplink = Uplink::new(windows, keep);
    let stream = attached(&uplink);
    uplink.open(1, LinkOpened::default());
    (uplink, stream)
}

fn attached(uplink: &Arc<Uplink>) -> UplinkStream {
    let mut stream = uplink.stream(AttachHello::default());
    assert!(poll(&mut stream).is_ready(), "hello");
    uplink.resume(&[]);
    assert!(
        next(&mut stream).unwrap().caught_up,
        "nothing to send again"
    );
    stream
}

fn poll(stream: &mut UplinkStream) -> Poll<Option<AttachRequest>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn next(stream: &mut UplinkStream) -> Option<UplinkMessage> {
    let Poll::Ready(Some(request)) = poll(stream) else {
        return None;
    };
    let Some(attach_request::Frame::Uplink(message)) = request.frame else {
        return None;
    };
    Some(message)
}

fn has_room(uplink: &Uplink, link: u64) -> bool {
    let context = Context::from_waker(Waker::noop());
    uplink.poll_room(&context, link).is_ready()
}

fn sequences(message: &UplinkMessage) -> Vec<(u64, u64)> {
    let entries = message.entries.iter();
    entries.map(|entry| (entry.link, entry.sequence)).collect()
}

fn confirmation(link: u64, sequence: u64) -> Confirmation {
    Confirmation { link, sequence }
}

fn message(length: usize) -> Deed {
    Deed::Entry(Entry::Envelope(Envelope {
        pdu: Bytes::from(vec![0; length]),
        ..Envelope::default()
    }))
}

fn query(users: u32) -> Deed {
    Deed::Query(OpenQuery {
        header_sequence: 1,
        requester: 1,
        user_ids: (0..users).collect(),
        attach_data: Bytes::new(),
        asked_at: Duration::ZERO,
        traceparent: String::new(),
    })
}
