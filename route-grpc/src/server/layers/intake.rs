//! How requests come in: each message has to keep a pace, and what one client has begun and not
//! ended has a limit. What is beyond is refused: if it waited, it would fill the window that the
//! others need to end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::{Around, Handler};
use crate::attach::Hangup;
use crate::limits::{Share, Weight};
use crate::node::Node;
use crate::refusal::Refusal;

/// What has to come of a message in [`PACE_TIME`], if it is that long: less than any network that
/// services and gateways use carries.
const PACE_BYTES: usize = 64 << 10;
const PACE_TIME: Duration = Duration::from_secs(10);

/// Bytes before each gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A stream of requests of ours, as [`methods::WATCH_USER_SET`](crate::methods::WATCH_USER_SET).
const WATCH_USER_SET: &str = "/teamtalk.route.v1.PresenceService/WatchUserSet";

/// Watches over every request.
#[derive(Debug, Clone)]
pub(in crate::server) struct Intake(pub(in crate::server) Arc<Node>);

impl Around for Intake {
    fn around<S: Handler>(
        &self,
        mut request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let client = request.extensions().get::<(Hangup, Share)>();
        let (hangup, share) = client.cloned().unwrap_or_default();
        let stream = Stream::of(request.uri().path());
        let (of_all, of_client) = (Arc::clone(&self.0.begun), share.clone());
        let extensions = request.extensions_mut();
        extensions.insert::<Hangup>(hangup);
        extensions.insert::<Share>(share);
        let unfinished = Weight::new(&self.0.unfinished);
        inner.call(request.map(|body| {
            Body::new(Paced {
                inner: body,
                stream,
                of_all,
                of_client,
                message: Message::default(),
                place: None,
                came: 0,
                deadline: None,
                unfinished,
            })
        }))
    }
}

/// Of what a client may have begun; of what all may.
type Place = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// What comes on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// One message, as soon as it can.
    One,
    /// Any number, whenever they are ready.
    Messages,
    /// The same, from a gateway.
    Attach,
}

impl Stream {
    fn of(path: &str) -> Self {
        if path.starts_with("/teamtalk.attach.") {
            Self::Attach
        } else if path.starts_with("/grpc.reflection.") || path == WATCH_USER_SET {
            Self::Messages
        } else {
            Self::One
        }
    }
}

/// A request's body, on its way in.
#[derive(Debug)]
struct Paced<B> {
    inner: B,
    stream: Stream,
    of_all: Arc<Semaphore>,
    of_client: Share,
    message: Message,
    /// Its part of what the client may have begun, and of what all may.
    place: Option<Place>,
    /// Since the deadline was set.
    came: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    unfinished: Weight,
}

/// Where in a message the body stands.
#[derive(Debug, Default)]
struct Message {
    prefix: Vec<u8>,
    left: usize,
    /// At least one has come completely.
    complete: bool,
}

impl Message {
    /// More has come. Returns how long the last message is that has begun in it and goes on, if one
    /// has.
    fn read(&mut self, mut came: &[u8]) -> Option<u32> {
        let mut begun = None;
        while !came.is_empty() {
            if self.left > 0 {
                let some = self.left.min(came.len());
                self.left -= some;
                came = &came[some..];
                self.complete |= self.left == 0;
                begun = begun.filter(|_| self.left > 0);
                continue;
            }
            let some = came.len().min(PREFIX_BYTES - self.prefix.len());
            self.prefix.extend_from_slice(&came[..some]);
            came = &came[some..];
            if let [_, a, b, c, d] = self.prefix[..] {
                let length = u32::from_be_bytes([a, b, c, d]);
                self.prefix.clear();
                self.left = length as usize;
                self.complete |= length == 0;
                begun = (length > 0).then_some(length);
            }
        }
        begun
    }

    fn has_begun(&self) -> bool {
        self.left > 0 || !self.prefix.is_empty()
    }
}

impl<B> Paced<B> {
    /// Something is owed at once.
    fn is_awaited(&self) -> bool {
        self.message.has_begun() || (self.stream == Stream::One && !self.message.complete)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if !self.is_awaited() {
            return Poll::Pending;
        }
        let deadline = self.deadline.get_or_insert_with(|| {
            self.came = 0;
            Box::pin(sleep(PACE_TIME))
        });
        ready!(deadline.as_mut().poll(cx));
        let problem = "less than 64 KiB of a request have come in 10 s";
        Poll::Ready(Refusal::TooSlow { problem }.into())
    }

    /// A message of so many bytes has begun and goes on. What a gateway sends has bounds of its own; its
    /// hello has not: anybody can say one.
    fn begins(&self, length: u32) -> Option<Place> {
        let client = &self.of_client;
        if self.stream == Stream::Attach && self.message.complete {
            let place = Arc::clone(&client.attach).try_acquire_owned().ok()?;
            return Some((place, None));
        }
        let bytes = Share::begins(length);
        let begun = Arc::clone(&client.begun).try_acquire_many_owned(bytes);
        let of_all = Arc::clone(&self.of_all).try_acquire_many_owned(bytes);
        Some((begun.ok()?, Some(of_all.ok()?)))
    }

    /// More has come.
    fn take(&mut self, data: &[u8]) -> Result<(), Refusal> {
        self.came += data.len();
        let begun = self.message.read(data);
        let has_begun = self.message.has_begun();
        if begun.is_some() || !has_begun {
            self.place = None;
            self.unfinished.set(0);
        }
        if has_begun {
            self.unfinished.add(data.len());
        }
        if self.came >= PACE_BYTES || !has_begun {
            self.deadline = None;
        }
        if let Some(length) = begun {
            let place = self.begins(length).ok_or(Refusal::BegunLimit)?;
            self.place = Some(place);
        }
        Ok(())
    }
}

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return self.poll_late(cx).map(|late| Some(Err(late)));
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(refusal) = self.take(data)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http_body::Body as _;
    use tokio::time::Instant;
    use tonic::Code;

    use super::*;

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
    fn paced(share: &Share, stream: Stream, length: u32, came: usize) -> Paced<Came> {
        let mut data = vec![0];
        data.extend_from_slice(&length.to_be_bytes());
        data.resize(PREFIX_BYTES + came, 7);
        Paced {
            inner: Came(VecDeque::from([data.into()])),
            stream,
            of_all: Arc::new(Semaphore::new(40 << 20)),
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
        let mut body = paced(&Share::default(), Stream::Messages, 1000, 999);
        let started = Instant::now();

        assert_eq!(next(&mut body).await, Ok(PREFIX_BYTES + 999));
        assert_eq!(next(&mut body).await, Err(Code::DeadlineExceeded));

        assert_eq!(started.elapsed(), PACE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_who_owes_something_has_to_hurry() {
        let share = Share::default();
        let mut call = paced(&share, Stream::One, 0, 0);
        call.inner.0.clear();
        let mut between = paced(&share, Stream::Messages, 3, 3);

        assert_eq!(next(&mut call).await, Err(Code::DeadlineExceeded));
        assert_eq!(next(&mut between).await, Ok(PREFIX_BYTES + 3));
        let idle = tokio::time::timeout(10 * PACE_TIME, next(&mut between)).await;
        assert!(idle.is_err(), "it may take its time");
    }

    #[tokio::test]
    async fn what_one_client_has_begun_has_a_limit() {
        let share = Share::default();
        let mut bodies = Vec::new();
        let refused = loop {
            let mut body = paced(&share, Stream::One, 4 << 20, 1);
            if let Err(code) = next(&mut body).await {
                break code;
            }
            bodies.push(body);
        };

        assert_eq!((refused, bodies.len()), (Code::ResourceExhausted, 4));
        bodies[0].inner.0.push_back(vec![7; (4 << 20) - 1].into());
        assert!(next(&mut bodies[0]).await.is_ok());
        let mut body = paced(&share, Stream::One, 4 << 20, 1);
        assert!(next(&mut body).await.is_ok(), "one has ended");
    }

    #[tokio::test]
    async fn what_all_clients_have_begun_has_a_limit() {
        let of_all = Arc::new(Semaphore::new(8 << 20));
        let mut bodies = Vec::new();
        let refused = loop {
            let stream = [Stream::One, Stream::Attach][bodies.len() % 2];
            let mut body = paced(&Share::default(), stream, 4 << 20, 1);
            body.of_all = Arc::clone(&of_all);
            if let Err(code) = next(&mut body).await {
                break code;
            }
            bodies.push(body);
        };

        assert_eq!((refused, bodies.len()), (Code::ResourceExhausted, 2));
    }

    #[test]
    fn a_message_has_begun_until_its_last_byte() {
        let mut message = Message::default();

        assert_eq!(message.read(&[0, 0, 0]), None);
        assert!(message.has_begun());
        assert_eq!(message.read(&[0, 3, 1]), Some(3));
        assert_eq!(message.read(&[2]), None);
        assert!(message.has_begun() && !message.complete);
        // Its end, an empty one, and the beginning of a long one.
        let begun = message.read(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 9]);
        assert_eq!(begun, Some(1 << 16));
        assert!(message.has_begun() && message.complete);
        // One that is complete asks for nothing.
        let mut message = Message::default();
        assert_eq!(message.read(&[0, 0, 0, 0, 2, 7, 7]), None);
        assert!(!message.has_begun() && message.complete);
    }
}
