//! Who calls, and whether he may: before anything of his request is read. A stream is judged again when a file is replaced, and
//! when what its caller has shown expires.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::Either;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::rest::hear_out;
use super::{Around, Handler, ended, unary_method};
use crate::access::{Access, Caller, FORWARDED_FOR, OpenStream, Peer};
use crate::refusal::OfCaller;
use crate::server::connection::Client;

/// Between two looks at the clock while something has not expired.
const SOONEST: Duration = Duration::from_millis(10);
const LATEST: Duration = Duration::from_secs(60);

/// Lets calls in.
#[derive(Debug, Clone)]
pub(in crate::server) struct Guard(pub(in crate::server) Arc<Access>);

impl Around for Guard {
    fn around<S: Handler>(
        &self,
        mut request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let client = request.extensions_mut().remove::<Client>();
        let is_stream = unary_method(&request).is_none();
        let admitted = self.admit(client.as_ref().map(|it| &it.peer), &request, is_stream);
        let (caller, open) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                return Either::Left(async {
                    hear_out(request.into_body()).await;
                    Ok(Status::from(refusal).into_http())
                });
            }
        };
        // What it says is in the caller, or counts for nothing.
        request.headers_mut().remove(FORWARDED_FOR);
        let extensions = request.extensions_mut();
        if let Some(client) = client {
            if caller.is_some() {
                client.let_in();
            }
            let is_passed = caller.as_ref().is_some_and(|it| it.by().is_some());
            extensions.insert(client.hangup);
            extensions.insert(match is_passed {
                // The node that passes it on keeps the shares of its clients.
                true => client.share.of_one_call(),
                false => client.share,
            });
        }
        if let Some(caller) = caller.clone() {
            extensions.insert(caller);
        }
        let judged = caller.filter(|_| is_stream).map(Judge::new);
        if let Some(judge) = judged.clone() {
            request = request.map(|inner| Body::new(Judged::new(inner, judge, Half::Request)));
        }
        let answer = inner.call(request);
        Either::Right(async move {
            let response = answer.await?;
            Ok(match judged {
                Some(judge) => {
                    let half = Half::Answer { _open: open };
                    response.map(|inner| Body::new(Judged::new(inner, judge, half)))
                }
                None => response,
            })
        })
    }
}

impl Guard {
    fn admit(
        &self,
        peer: Option<&Peer>,
        request: &Request<Body>,
        is_stream: bool,
    ) -> Result<(Option<Caller>, Option<OpenStream>), OfCaller> {
        let (path, headers) = (request.uri().path(), request.headers());
        let nobody = Peer::default();
        let caller = Caller::admit(&self.0, peer.unwrap_or(&nobody), path, headers)?;
        let stream = caller.as_ref().filter(|_| is_stream);
        let open = stream.map(Caller::opens_stream).transpose()?.flatten();
        Ok((caller, open))
    }
}

/// Judges the caller of one stream again: for both of its halves, since a client that reads nothing of the answer may still
/// send.
#[derive(Clone)]
struct Judge {
    caller: Caller,
    /// As of the call's beginning: no change since is missed.
    changes: watch::Receiver<u64>,
    /// Why the stream ends, said and counted once.
    over: Arc<Mutex<Option<OfCaller>>>,
}

impl Judge {
    fn new(caller: Caller) -> Self {
        Self {
            changes: caller.changes(),
            caller,
            over: Arc::default(),
        }
    }

    /// Returns why the stream ends, when it does.
    async fn refusal(mut self) -> OfCaller {
        loop {
            self.due().await;
            let mut over = self.over.lock();
            if let Some(refusal) = &*over {
                return refusal.clone();
            }
            if let Err(refusal) = self.caller.judge_again() {
                *over = Some(refusal.clone());
                return refusal;
            }
        }
    }

    /// Returns when he has to be judged again.
    async fn due(&mut self) {
        let expires = self.caller.expires();
        let expired = async {
            let Some(expires) = expires else {
                return std::future::pending().await;
            };
            // The clock may be set meanwhile, so it is asked again.
            while let Ok(left) = expires.duration_since(SystemTime::now()) {
                sleep(left.clamp(SOONEST, LATEST)).await;
            }
        };
        tokio::select! {
            _ = self.changes.changed() => {}
            () = expired => {}
        }
    }
}

/// One half of a stream whose caller is judged again.
struct Judged {
    inner: Body,
    half: Half,
    over: Arc<Mutex<Option<OfCaller>>>,
    refusal: Pin<Box<dyn Future<Output = OfCaller> + Send>>,
    is_over: bool,
}

enum Half {
    Request,
    Answer { _open: Option<OpenStream> },
}

impl Judged {
    fn new(inner: Body, judge: Judge, half: Half) -> Self {
        Self {
            inner,
            half,
            over: Arc::clone(&judge.over),
            refusal: Box::pin(judge.refusal()),
            is_over: false,
        }
    }

    /// Why it ends: the other half may have seen that first.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<OfCaller> {
        if let Some(refusal) = &*self.over.lock() {
            return Poll::Ready(refusal.clone());
        }
        self.refusal.as_mut().poll(cx)
    }
}

impl http_body::Body for Judged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match self.poll_refused(cx) {
            Poll::Ready(refusal) => {
                self.is_over = true;
                // Whoever made it need not go on.
                self.inner = Body::empty();
                Poll::Ready(Some(match self.half {
                    Half::Request => Err(refusal.into()),
                    Half::Answer { .. } => Ok(ended(refusal.into())),
                }))
            }
            Poll::Pending => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
