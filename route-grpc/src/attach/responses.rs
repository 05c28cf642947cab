//! What goes down: the welcome, then what waits in the gateway's queue, until either side ends the
//! stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use route_proto::attach::v1::{AttachResponse, attach_response};
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::admission::Admitted;
use crate::gateways::queue::Queue;
use crate::refusal::Refusal;

/// What the node sends to one gateway. Dropping it detaches the gateway.
#[derive(Debug)]
pub struct AttachResponses {
    state: State,
    _abandoned: DropGuard,
}

impl AttachResponses {
    /// Waits for what becomes of the hello. `abandoned` is cancelled when nobody reads any more.
    pub(super) fn new(
        admission: oneshot::Receiver<Result<Admitted, Status>>,
        abandoned: CancellationToken,
    ) -> Self {
        Self {
            state: State::Waiting(admission),
            _abandoned: abandoned.drop_guard(),
        }
    }
}

#[derive(Debug)]
enum State {
    /// For the decision about the hello.
    Waiting(oneshot::Receiver<Result<Admitted, Status>>),
    /// The attempt, and its gateway's queue.
    Open(u64, Arc<Queue>),
    Over,
}

impl Stream for AttachResponses {
    type Item = Result<AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match &mut self.state {
            State::Waiting(admission) => match ready!(Pin::new(admission).poll(cx)) {
                Ok(Ok(admitted)) => {
                    self.state = State::Open(admitted.hello.attempt, admitted.queue);
                    Some(Ok(attach_response::Frame::Welcome(admitted.welcome)))
                }
                Ok(Err(status)) => Some(Err(status)),
                // The serving task is gone without a word: the process is ending.
                Err(_) => Some(Err(Refusal::DRAINING.into())),
            },
            State::Open(attempt, queue) => ready!(queue.poll_take(*attempt, cx))
                .map(|taken| taken.map(attach_response::Frame::Downlink)),
            State::Over => None,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(AttachResponse { frame: Some(frame) })),
            Some(Err(status)) => {
                self.state = State::Over;
                Some(Err(status))
            }
            None => {
                self.state = State::Over;
                None
            }
        })
    }
}
