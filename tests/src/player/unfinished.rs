//! The body of a gRPC request that does not end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

/// Of what stands before a message.
const PREFIX: usize = 5;
/// What one read brings.
const CHUNK: usize = 16 << 10;

/// A message of so many bytes but for its last one, behind what comes first.
#[derive(Debug)]
pub struct Unfinished {
    first: Option<Bytes>,
    length: usize,
    came: usize,
}

impl Unfinished {
    /// Of so many bytes.
    pub fn of(length: usize) -> Self {
        Self {
            first: None,
            length,
            came: 0,
        }
    }

    /// The same behind this whole message.
    pub fn behind(first: &[u8], length: usize) -> Self {
        let first = [prefix(first.len()), first.to_vec()].concat();
        Self {
            first: Some(first.into()),
            ..Self::of(length)
        }
    }
}

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let (came, length) = (self.came, self.length);
        if came == length - 1 {
            return Poll::Pending;
        }
        let some = CHUNK.min(length - 1 - came);
        let mut data = Vec::with_capacity(some + PREFIX);
        if came == 0 {
            data = prefix(length);
        }
        data.resize(data.len() + some, 7);
        self.came += some;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }
}

/// What stands before a message of so many bytes.
fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = vec![0];
    prefix.extend_from_slice(&(length as u32).to_be_bytes());
    prefix
}
