//! Requests of the public API are read when it is known of how many pieces they are.
//!
//! An empty message is two bytes, and takes hundreds in memory: a request that is short enough to be taken could otherwise
//! take hundreds of times as much once it is read.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{Message, Name};
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::FILE_DESCRIPTOR_SET;

/// Most pieces of a request: messages in it and entries of lists, at any depth; packed numbers are one. Three times what
/// the longest list of ids has that somebody does not pack.
pub const MAX_PIECES: usize = 1 << 15;

/// What is said of more, with OUT_OF_RANGE.
pub const TOO_MANY_PIECES: &str = "the request is of more than 32768 pieces";

/// What is said, after what is wrong, of a request that cannot be read, and may be JSON.
pub const LOOKS_LIKE_JSON: &str = ", and it looks like JSON: gRPC clients send protobuf";

/// A shorter message cannot have more: a piece has a tag and a value.
const LONG: usize = 2 * MAX_PIECES;

/// [`ProstCodec`] that refuses requests of more than [`MAX_PIECES`] with OUT_OF_RANGE, before it reads them. Answers are
/// read as they are: a client has chosen its server.
#[derive(Debug)]
pub struct PiecesCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for PiecesCodec<T, U> {
    fn default() -> Self {
        PiecesCodec(PhantomData)
    }
}

impl<T, U> Codec for PiecesCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = PiecesDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        PiecesDecoder(PhantomData)
    }
}

/// See [`PiecesCodec`].
#[derive(Debug)]
pub struct PiecesDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for PiecesDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of it is there, in one piece of memory.
        if buffer.remaining() > LONG && SHAPES.has_too_many(&U::full_name(), buffer.chunk()) {
            return Err(Status::out_of_range(TOO_MANY_PIECES));
        }
        let looks_like_json = buffer
            .chunk()
            .first()
            .is_some_and(|it| b"{[\"".contains(it));
        let read = U::decode(buffer).map_err(|error| {
            let hint = if looks_like_json { LOOKS_LIKE_JSON } else { "" };
            Status::internal(format!("{error}{hint}"))
        });
        read.map(Some)
    }
}

/// Which fields of messages are pieces.
static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

#[derive(Debug)]
struct Shapes {
    /// By name, what methods are called with.
    requests: HashMap<String, usize>,
    messages: Vec<Shape>,
}

/// The fields of a message that are pieces, by number; of which message each is, if it is one.
#[derive(Debug, Default)]
struct Shape(Vec<(u32, Option<usize>)>);

impl Shapes {
    /// Of everything in the descriptor set.
    fn new() -> Self {
        // It is part of the program, and its test reads it.
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
        let mut names = HashMap::new();
        let mut messages = Vec::new();
        for file in &set.file {
            for message in &file.message_type {
                let name = format!(".{}.{}", file.package(), message.name());
                names.insert(name, messages.len());
                messages.push(message);
            }
        }
        let methods = set.file.iter().flat_map(|file| &file.service);
        let methods = methods.flat_map(|service| &service.method);
        let requests = methods.filter_map(|method| {
            let place = names.get(method.input_type())?;
            Some((method.input_type()[1..].to_owned(), *place))
        });
        Self {
            requests: requests.collect(),
            messages: messages.iter().map(|it| Shape::of(it, &names)).collect(),
        }
    }

    /// A request has more than [`MAX_PIECES`].
    fn has_too_many(&self, request: &str, bytes: &[u8]) -> bool {
        let shape = self.requests.get(request);
        shape.is_some_and(|shape| self.count(*shape, bytes) > MAX_PIECES)
    }

    /// How many pieces there are before anything that cannot be read, or one more than there may be.
    fn count(&self, shape: usize, bytes: &[u8]) -> usize {
        let mut pieces = 0;
        let mut left = vec![(shape, bytes)];
        while let Some((shape, mut bytes)) = left.pop() {
            while let Some((number, body)) = next_field(&mut bytes) {
                let mut fields = self.messages[shape].0.iter();
                let Some((_, inner)) = fields.find(|(field, _)| *field == number) else {
                    continue;
                };
                pieces += 1;
                if pieces > MAX_PIECES {
                    return pieces;
                }
                left.extend(inner.map(|inner| (inner, body)));
            }
        }
        pieces
    }
}

impl Shape {
    fn of(message: &DescriptorProto, names: &HashMap<String, usize>) -> Self {
        let pieces = message.field.iter().filter_map(|field| {
            let inner = names.get(field.type_name()).copied();
            let is_piece = inner.is_some() || field.label() == Label::Repeated;
            is_piece.then_some((field.number().cast_unsigned(), inner))
        });
        Self(pieces.collect())
    }
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
    use crate::v1::event::Body;
    use crate::v1::{
        BatchGetUserStatusRequest, BatchPublishRequest, Conversation, Event, EventFilter,
        FileNotice, FileServer, PublishRequest, StatusChange, SubscribeRequest, UserSession,
        UserStatus,
    };

    fn pieces<M: Message + Name>(request: &M) -> usize {
        let shape = SHAPES.requests[&M::full_name()];
        SHAPES.count(shape, &request.encode_to_vec())
    }

    fn publishes(body: Body) -> PublishRequest {
        PublishRequest {
            event: Some(Event {
                body: Some(body),
                ..Event::default()
            }),
            ..PublishRequest::default()
        }
    }

    #[test]
    fn messages_and_entries_of_lists_are_counted_and_packed_numbers_are_one() {
        let users = BatchGetUserStatusRequest {
            user_ids: vec![7; 10_000],
            include_sessions: true,
            ..BatchGetUserStatusRequest::default()
        };
        assert_eq!(pieces(&users), 1);
        // Not packed: a tag and a number each.
        let shape = SHAPES.requests[&BatchGetUserStatusRequest::full_name()];
        assert_eq!(SHAPES.count(shape, &[8, 7].repeat(10_000)), 10_000);
        assert!(TOO_MANY_PIECES.contains(&MAX_PIECES.to_string()));
    }

    #[test]
    fn what_is_deep_inside_is_counted() {
        let filter = EventFilter {
            conversations: vec![Conversation::default(); 20],
            msg_servers: vec![String::new(); 300],
            ..EventFilter::default()
        };
        let subscribe = SubscribeRequest {
            filters: vec![filter; 2],
            ..SubscribeRequest::default()
        };
        assert_eq!(pieces(&subscribe), 2 * 321);

        let change = StatusChange {
            user: Some(UserStatus {
                sessions: vec![UserSession::default(); 50],
                ..UserStatus::default()
            }),
            ..StatusChange::default()
        };
        let notice = FileNotice {
            servers: vec![FileServer::default(); 4],
            ..FileNotice::default()
        };
        let batch = BatchPublishRequest {
            requests: vec![
                // Request, event, change, user.
                publishes(Body::StatusChange(change)),
                // Request, event, notice.
                publishes(Body::FileNotice(notice)),
            ],
        };
        assert_eq!(pieces(&batch), 4 + 50 + 3 + 4);
    }

    #[test]
    fn the_longest_batch_has_fewer_than_it_may() {
        let notice = FileNotice {
            servers: vec![FileServer::default(); 20],
            ..FileNotice::default()
        };
        let batch = BatchPublishRequest {
            requests: vec![publishes(Body::FileNotice(notice)); 1000],
        };
        assert!(pieces(&batch) < MAX_PIECES);
    }

    #[test]
    fn what_cannot_be_read_ends_the_count_and_so_does_one_too_many() {
        let shape = SHAPES.requests[&BatchPublishRequest::full_name()];
        // Two empty requests, and half a length.
        assert_eq!(SHAPES.count(shape, &[0x0a, 0, 0x0a, 0, 0x0a, 0x80]), 2);
        let many = [0x0a, 0].repeat(10 * MAX_PIECES);
        assert_eq!(SHAPES.count(shape, &many), MAX_PIECES + 1);
    }
}
