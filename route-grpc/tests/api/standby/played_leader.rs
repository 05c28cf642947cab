//! A leader that is played: a test sees what comes to it, and says what it answers.

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use std::future::poll_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::http::{HeaderMap, Request, Response};

use crate::site::soon;

/// When it is dropped, it is gone with all its connections.
pub(super) struct PlayedLeader {
    pub(super) url: String,
    calls: mpsc::UnboundedReceiver<Heard>,
    _accepts: AbortOnDropHandle<()>,
}

/// One call that has come to it.
pub(super) struct Heard {
    pub(super) request: Request<RecvStream>,
    answer: SendResponse<Bytes>,
}

impl PlayedLeader {
    pub(super) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heard, calls) = mpsc::unbounded_channel();
        let accepts = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, heard.clone()));
            }
        };
        Self {
            url,
            calls,
            _accepts: AbortOnDropHandle::new(tokio::spawn(accepts)),
        }
    }

    /// The next call.
    pub(super) async fn hears(&mut self) -> Heard {
        soon("a call", self.calls.recv()).await.unwrap()
    }

    /// The paths of all calls that have come and were not looked at.
    pub(super) fn paths(&mut self) -> Vec<String> {
        let calls = std::iter::from_fn(|| self.calls.try_recv().ok());
        calls.map(|it| it.request.uri().path().to_owned()).collect()
    }
}

async fn serve(stream: TcpStream, heard: mpsc::UnboundedSender<Heard>) {
    let mut builder = Builder::new();
    builder.initial_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, answer))) = connection.accept().await {
        let _ = heard.send(Heard { request, answer });
    }
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let value = self.request.headers().get(name)?;
        Some(value.to_str().unwrap())
    }

    /// All that is asked.
    pub(super) async fn asked(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(came) = soon("more", self.request.body_mut().data()).await {
            let came = came.unwrap();
            let flow = self.request.body_mut().flow_control();
            flow.release_capacity(came.len()).unwrap();
            all.extend_from_slice(&came);
        }
        all
    }

    /// Begins to answer.
    pub(super) fn begins(&mut self) -> SendStream<Bytes> {
        let response = Response::builder().header("content-type", "application/grpc");
        self.answer
            .send_response(response.body(()).unwrap(), false)
            .unwrap()
    }

    /// Answers with these headers, and nothing else.
    pub(super) fn ends(&mut self, headers: &[(&'static str, &str)]) {
        let mut response = Response::builder().header("content-type", "application/grpc");
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(()).unwrap();
        self.answer.send_response(response, true).unwrap();
    }

    /// Waits until the other end has given it up.
    pub(super) async fn given_up(&mut self) -> Reason {
        let reset = poll_fn(|cx| self.answer.poll_reset(cx));
        soon("the call to be given up", reset).await.unwrap()
    }

    /// Waits until nothing more is asked, because the other end has given up.
    pub(super) async fn given_up_asking(&mut self) {
        while let Some(Ok(came)) = soon("the end", self.request.body_mut().data()).await {
            let flow = self.request.body_mut().flow_control();
            flow.release_capacity(came.len()).unwrap();
        }
        assert!(
            !self.request.body().is_end_stream(),
            "it has ended in order"
        );
    }
}

/// Ends an answer that has begun.
pub(super) fn end(stream: &mut SendStream<Bytes>, headers: &[(&'static str, &str)]) {
    let mut trailers = HeaderMap::new();
    for (name, value) in headers {
        trailers.insert(*name, value.parse().unwrap());
    }
    stream.send_trailers(trailers).unwrap();
}

/// Sends bytes as far as they are taken up, until nothing was for a while: how many were.
pub(super) async fn pour(stream: &mut SendStream<Bytes>, most: usize) -> usize {
    const PIECE: usize = 16 << 10;
    let mut poured = 0;
    while poured < most {
        stream.reserve_capacity(PIECE);
        let room = poll_fn(|cx| stream.poll_capacity(cx));
        let room = tokio::time::timeout(std::time::Duration::from_millis(100), room).await;
        let Ok(Some(Ok(room))) = room else {
            return poured;
        };
        let piece = Bytes::from(vec![0; room.min(PIECE)]);
        poured += piece.len();
        stream.send_data(piece, false).unwrap();
    }
    poured
}
