//! Requests that are not framed as gRPC has it: JSON, bare protobuf, half a message. tonic calls that an error of the server
//! (INTERNAL), or takes the first bytes for a length.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use route_proto::pieces::LOOKS_LIKE_JSON;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::message::{Message, Stream};
use super::rest::hear_out;
use super::{Around, Handler};
use crate::refusal::Refusal;

/// Refuses them.
#[derive(Debug, Clone)]
pub(in crate::server) struct Framed;

impl Around for Framed {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let encoding = request.headers().get("grpc-encoding");
        let may_be_packed = encoding.is_some_and(|it| it != "identity");
        let stream = Stream::of(request.uri().path());
        inner.call(request.map(|body| {
            Body::new(Checked {
                inner: body,
                stream,
                may_be_packed,
                message: Message::default(),
                refused: None,
            })
        }))
    }
}

/// A request's body.
struct Checked {
    inner: Body,
    stream: Stream,
    may_be_packed: bool,
    message: Message,
    /// What is to be said when the rest has come.
    refused: Option<Refused>,
}

struct Refused {
    refusal: Refusal,
    rest: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Checked {
    /// What is wrong with what has come.
    fn problem(&self) -> Option<String> {
        match self.message.flag {
            0 => None,
            1 if self.may_be_packed => None,
            1 => Some("says that it is compressed, and there is no grpc-encoding".to_owned()),
            other => {
                let json = if b"{[\"".contains(&other) {
                    LOOKS_LIKE_JSON
                } else {
                    ""
                };
                Some(format!(
                    "is not framed: a message begins with 0 or 1 and its length, this with {other}{json}"
                ))
            }
        }
    }

    /// What is wrong with an end here.
    fn problem_of_end(&self) -> Option<String> {
        if let Some(missing) = self.message.missing() {
            return Some(format!(
                "ends within a message, or before its length: {missing} bytes are missing"
            ));
        }
        let is_missing = self.stream == Stream::One && !self.message.complete;
        is_missing.then(|| "has no message: an empty one has five bytes, all 0".to_owned())
    }

    fn poll_checked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let problem = match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => {
                    self.message.read(data);
                    self.problem()
                }
                None => self.problem_of_end(),
            },
            None => self.problem_of_end(),
            Some(Err(_)) => None,
        };
        if let Some(problem) = problem {
            self.refused = Some(Refused {
                refusal: Refusal::field("request", problem),
                rest: Box::pin(hear_out(std::mem::take(&mut self.inner))),
            });
            return self.poll_refused(cx);
        }
        Poll::Ready(frame)
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(refused) = &mut self.refused {
            ready!(refused.rest.as_mut().poll(cx));
        }
        let refused = self.refused.take();
        Poll::Ready(refused.map(|it| Err(it.refusal.into())))
    }
}

impl http_body::Body for Checked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.refused {
            Some(_) => self.poll_refused(cx),
            None => self.poll_checked(cx),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
