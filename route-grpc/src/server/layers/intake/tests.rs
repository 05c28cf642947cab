use std::collections::VecDeque;
use std::future::poll_fn;

use http_body::Body as _;
use opentelemetry::global::meter;
use route_runtime::budget::Budget;
use route_runtime::shutdown::Shutdown;
use tokio::time::Instant;
use tonic::Code;

use super::*;
use crate::server::layers::message::PREFIX_BYTES;
use crate::settings::NodeSettings;

fn process(unfinished_bytes: usize) -> Arc<Process> {
    let settings = NodeSettings {
        unfinished_bytes,
        publish_bytes: 5 << 20,
        ..NodeSettings::default()
    };
    let shutdown = Shutdown::new(Duration::from_secs(1));
    Process::new(settings, Budget::new(None), &meter("test"), shutdown)
}

/// Frames that have come; the next one does not come.
struct Came(VecDeque<Bytes>);

impl http_body::Body for Came {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.0.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Pending,
        }
    }
}

/// So much has come of a message of this length.
fn paced(
    process: &Arc<Process>,
    share: &Share,
    stream: Stream,
    length: u32,
    came: usize,
) -> Paced<Came> {
    let mut data = vec![0];
    data.extend_from_slice(&length.to_be_bytes());
    data.resize(PREFIX_BYTES + came, 7);
    Paced {
        inner: Came(VecDeque::from([data.into()])),
        stream,
        process: Arc::clone(process),
        peer: None,
        of_client: share.clone(),
        message: Message::default(),
        place: None,
        came: 0,
        deadline: None,
        unfinished: Weight::new(&Arc::default()),
    }
}

async fn next(body: &mut Paced<Came>) -> Result<usize, Code> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    let frame = frame.expect("there is something").map_err(|it| it.code())?;
    Ok(frame.into_data().map_or(0, |data| data.len()))
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stands_still_is_given_up() {
    let process = process(40 << 20);
    let mut body = paced(&process, &Share::default(), Stream::Messages, 1000, 999);
    let started = Instant::now();

    assert_eq!(next(&mut body).await, Ok(PREFIX_BYTES + 999));
    assert_eq!(next(&mut body).await, Err(Code::DeadlineExceeded));

    assert_eq!(started.elapsed(), PACE_TIME);
}

#[tokio::test(start_paused = true)]
async fn only_one_who_owes_something_has_to_hurry() {
    let (process, share) = (process(40 << 20), Share::default());
    let mut call = paced(&process, &share, Stream::One, 0, 0);
    call.inner.0.clear();
    let mut between = paced(&process, &share, Stream::Messages, 3, 3);

    assert_eq!(next(&mut call).await, Err(Code::DeadlineExceeded));
    assert_eq!(next(&mut between).await, Ok(PREFIX_BYTES + 3));
    let idle = tokio::time::timeout(10 * PACE_TIME, next(&mut between)).await;
    assert!(idle.is_err(), "it may take its time");
}

#[tokio::test]
async fn what_one_client_has_begun_has_a_limit() {
    let (process, share) = (process(40 << 20), Share::default());
    let mut bodies = Vec::new();
    let refused = loop {
        let mut body = paced(&process, &share, Stream::One, 4 << 20, 1);
        if let Err(code) = next(&mut body).await {
            break code;
        }
        bodies.push(body);
    };

    assert_eq!((refused, bodies.len()), (Code::ResourceExhausted, 4));
    bodies[0].inner.0.push_back(vec![7; (4 << 20) - 1].into());
    assert!(next(&mut bodies[0]).await.is_ok());
    let mut body = paced(&process, &share, Stream::One, 4 << 20, 1);
    assert!(next(&mut body).await.is_ok(), "one has ended");
}

#[tokio::test]
async fn what_all_clients_have_begun_has_a_limit() {
    let process = process(8 << 20);
    let mut bodies = Vec::new();
    let refused = loop {
        let stream = [Stream::One, Stream::Attach][bodies.len() % 2];
        let mut body = paced(&process, &Share::default(), stream, 4 << 20, 1);
        if let Err(code) = next(&mut body).await {
            break code;
        }
        bodies.push(body);
    };

    assert_eq!((refused, bodies.len()), (Code::ResourceExhausted, 2));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_let_in_waits_for_memory_and_is_not_read_meanwhile() {
    let (process, share) = (process(8 << 20), Share::default());
    let cx = Context::from_waker(std::task::Waker::noop());
    let mut first = paced(&process, &Share::default(), Stream::One, 5 << 20, 1);
    assert!(next(&mut first).await.is_ok());
    let mut gateway = paced(&process, &share, Stream::Attach, 5 << 20, 1);
    gateway.message.complete = true;
    gateway.inner.0.push_back(vec![7; 1].into());

    assert_eq!(next(&mut gateway).await, Ok(PREFIX_BYTES + 1));
    assert!(share.reading.poll(&cx).is_pending());
    drop(first);
    process.requests.look(process.requests.passed());
    assert_eq!(next(&mut gateway).await, Ok(1));
    assert!(share.reading.poll(&cx).is_ready());
}

#[tokio::test(start_paused = true)]
async fn who_holds_memory_for_too_long_is_cut_off_while_another_one_waits() {
    let process = process(8 << 20);
    let mut slow = paced(&process, &Share::default(), Stream::One, 5 << 20, 1);
    assert!(next(&mut slow).await.is_ok());
    let mut gateway = paced(&process, &Share::default(), Stream::Attach, 5 << 20, 1);
    gateway.message.complete = true;
    assert!(next(&mut gateway).await.is_ok());

    tokio::time::advance(Duration::from_secs(3)).await;
    process.requests.look(0);
    assert_eq!(next(&mut slow).await, Err(Code::ResourceExhausted));
    gateway.inner.0.push_back(vec![7; 1].into());
    assert_eq!(next(&mut gateway).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_length_that_no_method_takes_is_refused_as_such() {
    let process = process(8 << 20);
    let too_long = 1 << 30;
    for (stream, length, is_taken) in [
        (Stream::One, too_long, false),
        (Stream::Messages, too_long, false),
        (Stream::One, 1 << 20, true),
        (Stream::Attach, too_long, true),
    ] {
        let checked = paced(&process, &Share::default(), stream, length, 0).check_length(length);
        match checked {
            Ok(()) => assert!(is_taken, "{length}"),
            Err(refusal) => assert!(!is_taken && matches!(refusal, Refusal::TooLarge { .. })),
        }
    }
}
