//! Calls as they stand in HTTP/2: tonic's clients neither send half a message, nor leave the deadline to the node.

use std::task::{Context, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::codegen::http::{HeaderMap, Request};

use crate::site::{Site, soon};

/// One connection. What comes on it is taken when a test reads it, but for 64 KiB of each call.
pub(crate) struct Wire {
    requests: SendRequest<Bytes>,
    connection: AbortOnDropHandle<Result<(), h2::Error>>,
}

/// What a client says, and whether it goes on.
pub(crate) struct Said {
    bytes: Bytes,
    ends: bool,
    /// `grpc-timeout`.
    timeout: Option<String>,
    /// `grpc-encoding`.
    encoding: Option<&'static str>,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Said {
    /// A message, or what is none, and nothing after it.
    pub(crate) fn all(message: &[u8]) -> Self {
        Self::bytes(&[&prefix(message.len()), message].concat())
    }

    /// These bytes as they are, and nothing after them.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            ends: true,
            timeout: None,
            encoding: None,
            content_type: "application/grpc",
            headers: Vec::new(),
        }
    }

    /// These bytes, and more to come.
    pub(crate) fn goes_on(bytes: &[u8]) -> Self {
        Self {
            ends: false,
            ..Self::bytes(bytes)
        }
    }

    /// The beginning of a message of so many bytes, and no more for now.
    pub(crate) fn begun(length: usize) -> Self {
        Self {
            bytes: prefix(length).to_vec().into(),
            ends: false,
            timeout: None,
            encoding: None,
            content_type: "application/grpc",
            headers: Vec::new(),
        }
    }

    /// Nothing for now.
    pub(crate) fn nothing() -> Self {
        Self {
            bytes: Bytes::new(),
            ends: false,
            timeout: None,
            encoding: None,
            content_type: "application/grpc",
            headers: Vec::new(),
        }
    }

    /// The same with a deadline.
    pub(crate) fn within(self, millis: u32) -> Self {
        self.timeout(format!("{millis}m"))
    }

    /// The same with this as one.
    pub(crate) fn timeout(self, text: impl Into<String>) -> Self {
        Self {
            timeout: Some(text.into()),
            ..self
        }
    }

    /// The same with a header more.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a token.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// The same, called something else than gRPC.
    pub(crate) fn of_type(self, content_type: &'static str) -> Self {
        Self {
            content_type,
            ..self
        }
    }

    /// The same, as if it were compressed like this.
    pub(crate) fn packed(self, encoding: &'static str) -> Self {
        Self {
            encoding: Some(encoding),
            ..self
        }
    }
}

/// What gRPC puts before a message of so many bytes.
fn prefix(length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
    [0, a, b, c, d]
}

/// One call.
pub(crate) struct Call {
    answer: Answer,
    requests: SendStream<Bytes>,
}

enum Answer {
    Awaited(ResponseFuture),
    Begun(HeaderMap, RecvStream),
}

impl Wire {
    pub(crate) async fn open(site: &Site) -> Self {
        Self::to(&site.address.to_string()).await
    }

    pub(crate) async fn to(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// On a connection that is made.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            requests,
            connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        }
    }

    /// The same of a client that reads nothing of any answer but its headers.
    pub(crate) async fn deaf(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self {
            requests,
            connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        }
    }

    /// Calls a method by its full name.
    pub(crate) async fn call(&self, method: &str, said: Said) -> Call {
        let mut request = Request::post(format!("http://node/{method}"))
            .header("content-type", said.content_type)
            .header("te", "trailers");
        if let Some(timeout) = said.timeout {
            request = request.header("grpc-timeout", timeout);
        }
        if let Some(encoding) = said.encoding {
            request = request.header("grpc-encoding", encoding);
        }
        for (name, value) in said.headers {
            request = request.header(name, value);
        }
        let ready = self.requests.clone().ready();
        let mut requests = soon("a stream", ready).await.unwrap();
        let request = request.body(()).unwrap();
        let (answer, mut requests) = requests.send_request(request, false).unwrap();
        requests.send_data(said.bytes, said.ends).unwrap();
        Call {
            answer: Answer::Awaited(answer),
            requests,
        }
    }

    /// Waits until the node has closed it.
    pub(crate) async fn closed(self) {
        // However that is.
        let _ = self.connection.await;
    }

    /// Calls it, and reads to the end.
    pub(crate) async fn ends(&self, method: &str, said: Said) -> Status {
        self.call(method, said).await.end().await
    }
}

impl Call {
    /// Says more.
    pub(crate) fn say(&mut self, bytes: &[u8], ends: bool) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.requests.send_data(bytes, ends).unwrap();
    }

    /// The HTTP status of an answer that is no answer of gRPC; none: the connection has ended.
    pub(crate) async fn refused(&mut self) -> Option<String> {
        match &mut self.answer {
            Answer::Awaited(answer) => Some(answer.await.ok()?.status().as_str().to_owned()),
            Answer::Begun(..) => panic!("it has begun"),
        }
    }

    /// What has come so far may have said that the request is not wanted any more.
    pub(crate) fn is_reset(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.requests.poll_reset(&mut cx).is_ready()
    }

    /// What comes next of the answer's body; none: its end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let (_, body) = self.begun().await;
        let came = soon("more of an answer", body.data()).await?.unwrap();
        body.flow_control().release_capacity(came.len()).unwrap();
        Some(came)
    }

    /// Reads all of the answer, and how it ends.
    pub(crate) async fn end(&mut self) -> Status {
        while self.next().await.is_some() {}
        let (headers, body) = self.begun().await;
        let trailers = soon("trailers", body.trailers()).await.unwrap();
        let trailers = trailers.as_ref().unwrap_or(headers);
        Status::from_header_map(trailers).expect("it ends with a status")
    }

    /// The answer's beginning, as soon as it is there.
    pub(crate) async fn begun(&mut self) -> (&mut HeaderMap, &mut RecvStream) {
        if let Answer::Awaited(answer) = &mut self.answer {
            let response = soon("an answer", answer).await.unwrap();
            let (parts, body) = response.into_parts();
            self.answer = Answer::Begun(parts.headers, body);
        }
        match &mut self.answer {
            Answer::Begun(headers, body) => (headers, body),
            Answer::Awaited(_) => panic!("it has begun"),
        }
    }
}
