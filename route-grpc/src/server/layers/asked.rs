//! Requests that are none, of another content type. Whoever sends such a thing by mistake is told so,
//! in a way that proxies and browsers understand, too.

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, StatusCode, header};

use super::{Around, Handler};
use crate::refusal::Refusal;

/// Refuses what no service could read.
#[derive(Debug, Clone)]
pub(in crate::server) struct Asked;

impl Around for Asked {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        match refusal(request.headers()) {
            Some(refused) => Either::Left(std::future::ready(Ok(refused))),
            None => Either::Right(inner.call(request)),
        }
    }
}

fn refusal(headers: &HeaderMap) -> Option<Response<Body>> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or("none", |it| it.to_str().unwrap_or("not text"));
    if !is_protobuf(content_type) {
        let problem =
            format!("{content_type}: this port speaks gRPC with protobuf, application/grpc");
        let mut response = Status::from(Refusal::field("content-type", problem)).into_http();
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(response);
    }
    None
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
