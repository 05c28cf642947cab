//! Messages of the public API are read when it is known of how many fields they are.
//!
//! An empty message in a list is two bytes, and takes hundreds in memory: a request that is short enough to be taken
//! could otherwise take hundreds of times as much once it is read.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// Most fields of a message, each entry of a list counted, but of packed numbers. Three times what the longest list of ids takes
/// that somebody does not pack.
pub const MAX_FIELDS: usize = 1 << 15;

/// What is said of more, with OUT_OF_RANGE.
pub const TOO_MANY_FIELDS: &str = "the request is of more than 32768 fields";

/// A shorter message cannot have more: a field has a tag and a value.
const LONG: usize = 2 * MAX_FIELDS;

/// [`ProstCodec`] that refuses messages of more than [`MAX_FIELDS`] with OUT_OF_RANGE, before it reads them.
#[derive(Debug)]
pub struct FieldsCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for FieldsCodec<T, U> {
    fn default() -> Self {
        FieldsCodec(PhantomData)
    }
}

impl<T, U> Codec for FieldsCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = FieldsDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        FieldsDecoder(PhantomData)
    }
}

/// See [`FieldsCodec`].
#[derive(Debug)]
pub struct FieldsDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for FieldsDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of it is there, in one piece of memory.
        if buffer.remaining() > LONG && count(buffer.chunk()) > MAX_FIELDS {
            return Err(Status::out_of_range(TOO_MANY_FIELDS));
        }
        let read = U::decode(buffer).map_err(|error| Status::internal(error.to_string()));
        read.map(Some)
    }
}

/// How many fields there are before anything that cannot be read.
fn count(mut bytes: &[u8]) -> usize {
    std::iter::from_fn(|| next_field(&mut bytes)).count()
}

/// The next field and what is in it, empty if it is no message. A group's fields count as those of the message.
pub(crate) fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (number, kind) = decode_key(bytes).ok()?;
    let length = match kind {
        WireType::Varint => {
            decode_varint(bytes).ok()?;
            0
        }
        WireType::StartGroup | WireType::EndGroup => 0,
        WireType::ThirtyTwoBit => 4,
        WireType::SixtyFourBit => 8,
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
    };
    let (body, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((number, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{BatchGetUserStatusRequest, BatchPublishRequest, PublishRequest};

    #[test]
    fn entries_of_lists_are_counted_and_packed_numbers_are_one() {
        let batch = BatchPublishRequest {
            requests: vec![PublishRequest::default(); 1000],
        };
        let users = BatchGetUserStatusRequest {
            user_ids: vec![7; 10_000],
            include_sessions: true,
            ..BatchGetUserStatusRequest::default()
        };

        assert_eq!(count(&batch.encode_to_vec()), 1000);
        assert_eq!(count(&users.encode_to_vec()), 2);
        assert!(TOO_MANY_FIELDS.contains(&MAX_FIELDS.to_string()));
    }
}
