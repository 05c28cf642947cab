//! The two halves of a call that is passed on. Frames go through as they are; an end that comes from elsewhere is put behind
//! them: the leader's silence or loss, our own drain, the caller's leaving.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;

use super::Taken;
use crate::metrics::passed_on::Outcome;
use crate::process::Process;
use crate::refusal::{REFUSED_NODE, Refusal};

/// What goes up. It breaks off when the call is over, so that the leader is told.
pub(super) struct Asked {
    inner: Body,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Asked {
    pub(super) fn new(inner: Body, over: CancellationToken) -> Self {
        let over = Box::pin(over.cancelled_owned());
        Self { inner, over }
    }
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            if !is_empty(&frame) {
                return Poll::Ready(frame);
            }
        }
        let over = self.over.as_mut().poll(cx);
        over.map(|()| Some(Err(Status::cancelled("the call is over"))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// It says nothing. Of such frames a node takes a hundred of a connection, and the connection to it is that of many callers.
fn is_empty(frame: &Option<Result<Frame<Bytes>, Status>>) -> bool {
    let frame = frame.as_ref().and_then(|it| it.as_ref().ok());
    frame.and_then(Frame::data_ref).is_some_and(Bytes::is_empty)
}

/// What comes down. The call is over when it is dropped.
pub(super) struct Answer {
    inner: Body,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    _ends: DropGuard,
    taken: Option<Taken>,
    /// When this node drains.
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    told: Told,
    is_over: bool,
}

/// What the caller is told of an end that is not the leader's answer.
pub(super) struct Told {
    /// The leader is lost, or another one leads.
    pub(super) lost: Refusal,
    /// The leader does not take this node, as these trailers say.
    pub(super) refused: Box<dyn Fn(&HeaderMap) -> Refusal + Send>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_over = &self.is_over;
        f.debug_struct("Answer").field("is_over", is_over).finish()
    }
}

impl Answer {
    pub(super) fn new(
        inner: Body,
        over: CancellationToken,
        ends: DropGuard,
        taken: Taken,
        process: &Arc<Process>,
        told: Told,
    ) -> Self {
        Self {
            inner,
            over: Box::pin(over.cancelled_owned()),
            _ends: ends,
            drained: match taken.is_stream() {
                true => Box::pin(drained(Arc::clone(process))),
                // It has been answered in part already: the rest comes soon.
                false => Box::pin(std::future::pending()),
            },
            taken: Some(taken),
            told,
            is_over: false,
        }
    }

    /// Ends it like this, which has this name.
    fn end(&mut self, outcome: Outcome, refusal: Refusal) -> Frame<Bytes> {
        self.is_over = true;
        if let Some(taken) = &mut self.taken {
            taken.passing.becomes(outcome);
        }
        // Whoever made it need not go on.
        self.inner = Body::empty();
        self.taken = None;
        Frame::trailers(refusal.into_trailers())
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        if self.over.as_mut().poll(cx).is_ready() {
            let lost = self.told.lost.clone();
            return Poll::Ready(self.end(Outcome::Lost, lost));
        }
        if self.drained.as_mut().poll(cx).is_ready() {
            return Poll::Ready(self.end(Outcome::Drained, Refusal::DRAINING));
        }
        Poll::Pending
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return self.poll_ended(cx).map(|ended| Some(Ok(ended)));
        };
        let ended = match &frame {
            Some(Ok(frame)) => {
                let refuses = |it: &&HeaderMap| it.contains_key(REFUSED_NODE);
                let trailers = frame.trailers_ref().filter(refuses);
                trailers.map(|it| (Outcome::Refused, (self.told.refused)(it)))
            }
            Some(Err(_)) => Some((Outcome::Lost, self.told.lost.clone())),
            None => None,
        };
        Poll::Ready(match ended {
            Some((outcome, refusal)) => Some(Ok(self.end(outcome, refusal))),
            None => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Returns when a stream is to end because this node drains: over the drain window, one after the other.
async fn drained(process: Arc<Process>) {
    process.draining().cancelled().await;
    let window = process.settings.drain_window;
    let share = f64::from(fastrand::u8(..)) / f64::from(u8::MAX);
    sleep(window.mul_f64(share).min(window.saturating_sub(LAST))).await;
}

/// Before the window is over: what is still open then is dropped.
const LAST: Duration = Duration::from_millis(20);
