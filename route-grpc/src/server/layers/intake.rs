//! How requests come in: each message has to keep a pace, and what one client has begun and not
//! ended has a limit. What is beyond is refused: if it waited, it would fill the window that the
//! others need to end. A gateway that is let in is not refused: its connection is not read until there
//! is room.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use route_runtime::budget::Input;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::message::{Message, Stream};
use super::{Around, Handler};
use crate::limits::{MAX_REQUEST_BYTES, Share, Stop, Weight};
use crate::process::Process;
use crate::refusal::Refusal;

/// What has to come of a message in [`PACE_TIME`], if it is that long: less than any network that
/// services and gateways use carries.
const PACE_BYTES: usize = 64 << 10;
const PACE_TIME: Duration = Duration::from_secs(10);

/// Watches over every request.
#[derive(Debug, Clone)]
pub(in crate::server) struct Intake(pub(in crate::server) Arc<Process>);

impl Around for Intake {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let share = Share::of(request.extensions());
        let stream = Stream::of(request.uri().path());
        let (process, peer, of_client) = (Arc::clone(&self.0), share.peer, share);
        let unfinished = Weight::new(&self.0.unfinished);
        inner.call(request.map(|body| {
            Body::new(Paced {
                inner: body,
                stream,
                process,
                peer,
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

/// What a message has that has begun and goes on.
#[derive(Debug)]
struct Place {
    _of_client: OwnedSemaphorePermit,
    /// Of what all may have.
    memory: Input,
    /// It waits for that.
    waits: Option<Stop>,
}

/// A request's body, on its way in.
#[derive(Debug)]
struct Paced<B> {
    inner: B,
    stream: Stream,
    process: Arc<Process>,
    peer: Option<SocketAddr>,
    of_client: Share,
    message: Message,
    place: Option<Place>,
    /// Since the deadline was set.
    came: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    unfinished: Weight,
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

    /// A message of so many bytes has begun and goes on. A gateway that is let in may wait; its hello may not:
    /// anybody can say one.
    fn begins(&self, length: u32) -> Result<Place, Refusal> {
        let client = &self.of_client;
        let may_wait = self.stream == Stream::Attach && self.message.complete;
        let of_client = if may_wait {
            Arc::clone(&client.attach).try_acquire_owned()
        } else {
            let bytes = Share::begins(length);
            Arc::clone(&client.begun).try_acquire_many_owned(bytes)
        };
        let of_client = of_client.map_err(|_| Refusal::BegunLimit)?;
        let host = self.peer.map(|peer| peer.ip());
        let memory = self.process.requests.ask(host, length as usize);
        let is_granted = memory.is_granted();
        if !is_granted && !may_wait {
            return Err(Refusal::BegunByAll);
        }
        Ok(Place {
            _of_client: of_client,
            memory,
            waits: (!is_granted).then(|| client.reading.stop()),
        })
    }

    /// Ready when the message that has begun has its memory; or with a refusal, if that is taken away.
    fn poll_memory(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refusal>> {
        let Some(place) = &mut self.place else {
            return Poll::Ready(Ok(()));
        };
        let memory = &place.memory;
        if place.waits.is_some() && ready!(memory.poll_granted(cx)).is_ok() {
            place.waits = None;
            // It could not be faster.
            self.deadline = None;
        }
        if memory.poll_cut(cx).is_pending() {
            return Poll::Ready(Ok(()));
        }
        self.place = None;
        let process = &self.process;
        process.metrics.tallies.cut_off.add(1);
        let (now, kind) = (process.clock.now(), ("request cut off", "memory"));
        process.refusals.log(now, kind, self.peer, &Refusal::CutOff);
        Poll::Ready(Err(Refusal::CutOff))
    }

    /// No method takes such a message, or its length is none: what is no gRPC may have any bytes there.
    fn check_length(&self, length: u32) -> Result<(), Refusal> {
        let longest = MAX_REQUEST_BYTES.max(self.process.settings.publish_bytes);
        if self.stream == Stream::Attach || length as usize <= longest {
            return Ok(());
        }
        let problem =
            format!("the request says that it has {length} bytes, at most {longest} are taken");
        Err(Refusal::TooLarge { problem })
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
            self.check_length(length)?;
            self.place = Some(self.begins(length)?);
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
        if let Err(refusal) = ready!(self.poll_memory(cx)) {
            return Poll::Ready(Some(Err(refusal.into())));
        }
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
mod tests;
