//! The caller's deadline. tonic answers a call whose time is over with CANCELLED; gRPC says
//! DEADLINE_EXCEEDED, and callers decide by that. And it lets a stream that has begun go on for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use futures_util::future::Either;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};

use super::rest::hear_out;
use super::{Around, Handler, ended};
use crate::refusal::Refusal;

/// tonic watches the caller's deadline too. Ours ends a little earlier, so that our code is the one
/// that is sent.
const HEAD_START: Duration = Duration::from_millis(5);

/// Ends calls in time.
#[derive(Debug, Clone)]
pub(in crate::server) struct Deadline;

impl Around for Deadline {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let deadline = match of(request.headers()) {
            Ok(deadline) => deadline,
            Err(refusal) => {
                return Either::Left(async {
                    hear_out(request.into_body()).await;
                    Ok(Status::from(refusal).into_http())
                });
            }
        };
        let answer = inner.call(request);
        Either::Right(async move {
            let Some(deadline) = deadline else {
                return answer.await;
            };
            // Nobody waits for so long.
            let Some(ends) = Instant::now().checked_add(deadline) else {
                return answer.await;
            };
            match timeout_at(ends, answer).await {
                Ok(response) => Ok(response?.map(|inner| Body::new(Limited::new(inner, ends)))),
                Err(_) => Ok(Status::from(Refusal::DeadlinePassed).into_http()),
            }
        })
    }
}

/// An answer that ends in time. Only one that has to wait takes a timer.
struct Limited {
    inner: Body,
    ends: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Limited {
    fn new(inner: Body, ends: Instant) -> Self {
        Self {
            inner,
            ends,
            timer: None,
            is_over: false,
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ends = self.ends;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(ends)));
        timer.as_mut().poll(cx)
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if Instant::now() < self.ends {
            let frame = Pin::new(&mut self.inner).poll_frame(cx);
            if frame.is_ready() || self.poll_over(cx).is_pending() {
                return frame;
            }
        }
        self.is_over = true;
        // Whoever made it need not go on.
        self.inner = Body::empty();
        Poll::Ready(Some(Ok(ended(Refusal::DeadlinePassed))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The caller's `grpc-timeout`: up to 8 digits and a unit.
fn of(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let problem = || format!("{text:?} is not up to 8 digits and one of H M S m u n");
    let parsed = parse(&text).ok_or_else(|| Refusal::field("grpc-timeout", problem()));
    parsed.map(Some)
}

fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit());
    let number = number.parse::<u32>().ok().filter(|_| is_number)?;
    let timeout = match unit {
        "H" => Duration::from_secs(3600) * number,
        "M" => Duration::from_secs(60) * number,
        "S" => Duration::from_secs(1) * number,
        "m" => Duration::from_millis(1) * number,
        "u" => Duration::from_micros(1) * number,
        "n" => Duration::from_nanos(1) * number,
        _ => return None,
    };
    Some(timeout.saturating_sub(HEAD_START).max(timeout / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_have_units() {
        assert_eq!(parse("1S"), Some(Duration::from_millis(995)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(95)));
        assert_eq!(parse("2m"), Some(Duration::from_millis(1)));
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(3600) * 99_999_999 - HEAD_START)
        );
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789S", "€"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
