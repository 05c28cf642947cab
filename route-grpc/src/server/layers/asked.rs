//! Requests that are none: of another content type, or of a method that is not there. Whoever sends such a thing by mistake is
//! told so, in a way that proxies and browsers understand, too.

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response, StatusCode, header};

use super::rest::hear_out;
use super::served::Served;
use super::{Around, Handler};
use crate::access::FORWARDED_FOR;
use crate::refusal::Refusal;

/// Refuses what no service could read.
#[derive(Debug, Clone)]
pub(in crate::server) struct Asked(pub(in crate::server) Served);

impl Around for Asked {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        match self.refusal(&request) {
            Some(refused) => Either::Left(async {
                hear_out(request.into_body()).await;
                Ok(refused)
            }),
            None => Either::Right(inner.call(request)),
        }
    }
}

impl Asked {
    fn refusal(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.map_or("none", |it| it.to_str().unwrap_or("not text"));
        if !is_protobuf(content_type) {
            return Some(unsupported(content_type));
        }
        let path = request.uri().path();
        if request.headers().contains_key(FORWARDED_FOR) && self.0.is_to_nodes(path) {
            return None;
        }
        let refused = self.0.check(path).err()?;
        Some(Status::from(refused).into_http())
    }
}

/// A client of gRPC shows the status; others show the text.
fn unsupported(content_type: &str) -> Response<Body> {
    let problem = format!("{content_type}: this port speaks gRPC with protobuf, application/grpc");
    let refusal = Refusal::field("content-type", problem);
    let text = format!("{refusal}\n");
    let mut response = Status::from(refusal).into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if !content_type.starts_with("application/grpc") {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        *response.body_mut() = Body::new(text);
    }
    response
}

/// `application/grpc`, or the same with the encoding of messages, or with parameters.
fn is_protobuf(content_type: &str) -> bool {
    let name = content_type.split(';').next().unwrap_or_default();
    matches!(name.trim(), "application/grpc" | "application/grpc+proto")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_with_protobuf_is_taken() {
        for taken in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
        ] {
            assert!(is_protobuf(taken), "{taken}");
        }
        for other in [
            "application/json",
            "application/grpc+json",
            "application/grpc-web",
            "none",
            "",
        ] {
            assert!(!is_protobuf(other), "{other}");
        }
    }
}
