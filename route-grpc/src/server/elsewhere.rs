//! What whoever calls where he cannot be served is told, on each call.

use route_runtime::http2::Answer;
use tonic::Status;
use tonic::codegen::http::StatusCode;

use crate::refusal::Refusal;

/// Of a port that is not for gRPC. `told` says what it is for, and which port is. It has the code that libraries of gRPC give
/// by themselves where nobody speaks it.
pub fn wrong_port(told: &'static str) -> Answer {
    answer(Refusal::WrongPort { told }, StatusCode::MISDIRECTED_REQUEST)
}

/// To clients of gRPC the refusal, to others this status and the same text.
pub(super) fn answer(refusal: Refusal, status: StatusCode) -> Answer {
    let text = refusal.to_string();
    let mut refused = Status::from(refusal).into_http::<()>();
    Answer {
        grpc: std::mem::take(refused.headers_mut()),
        status,
        text,
    }
}
