//! How messages of Attach are read: first it is counted of how many pieces they are.
//!
//! A piece of two bytes may take hundreds in memory. So a message that is short enough to be taken could otherwise take
//! gigabytes once it is read.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::v1::{AttachRequest, AttachResponse};
use crate::pieces::next_field;

/// Most pieces of a message: entries, runs, deliveries, marks, names and figures. Gateways and nodes send far fewer in one.
pub const MAX_PIECES: usize = 1 << 17;

/// A shorter message cannot have more: a piece has a tag and a length.
const LONG: usize = 2 * MAX_PIECES;

/// The fields of a message that are pieces, by number, and what is in these.
#[derive(Debug)]
pub struct Shape(&'static [(u32, Shape)]);

const LEAF: Shape = Shape(&[]);
const RUN: Shape = Shape(&[(4, LEAF)]);
const RESTORED: Shape = Shape(&[(7, LEAF)]);
const OPENED: Shape = Shape(&[(3, RESTORED)]);
const RETURNED: Shape = Shape(&[(1, RUN), (3, LEAF)]);
const ENTRY: Shape = Shape(&[(3, OPENED), (12, RETURNED)]);
const LOOKED_AT: Shape = Shape(&[(2, LEAF)]);
const UPLINK: Shape = Shape(&[(1, ENTRY), (3, LEAF), (6, LOOKED_AT)]);
const HELLO: Shape = Shape(&[(4, LEAF)]);

/// What comes from the other end.
pub trait Pieces {
    /// What is counted of it.
    const SHAPE: Shape;
}

impl Pieces for AttachRequest {
    const SHAPE: Shape = Shape(&[(1, HELLO), (2, UPLINK)]);
}

/// A gateway has chosen its node, and trusts it.
impl Pieces for AttachResponse {
    const SHAPE: Shape = LEAF;
}

/// [`ProstCodec`] that refuses messages of more than [`MAX_PIECES`] with OUT_OF_RANGE, before it reads them.
#[derive(Debug)]
pub struct CountedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CountedCodec<T, U> {
    fn default() -> Self {
        CountedCodec(PhantomData)
    }
}

impl<T, U> Codec for CountedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Pieces + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder(PhantomData)
    }
}

/// See [`CountedCodec`].
#[derive(Debug)]
pub struct CountedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Pieces> Decoder for CountedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of it is there, in one piece of memory.
        if buffer.remaining() > LONG && count(&U::SHAPE, buffer.chunk()) > MAX_PIECES {
            let problem = format!("a message of more than {MAX_PIECES} pieces");
            return Err(Status::out_of_range(problem));
        }
        let read = U::decode(buffer).map_err(|error| Status::internal(error.to_string()));
        read.map(Some)
    }
}

/// How many pieces there are before anything that cannot be read.
fn count(shape: &Shape, mut bytes: &[u8]) -> usize {
    let mut pieces = 0;
    while let Some((number, body)) = next_field(&mut bytes) {
        let inner = shape.0.iter().find(|(field, _)| *field == number);
        if let Some((_, inner)) = inner {
            pieces += 1 + count(inner, body);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::v1::uplink_entry::Entry;
    use crate::attach::v1::{
        AttachHello, Delivery, DeliveryRun, LinkClosed, LinkFigures, LookedAt, Returned, TakenMark,
        Uplink, UplinkEntry, attach_request,
    };

    fn pieces(frame: attach_request::Frame) -> usize {
        let request = AttachRequest { frame: Some(frame) };
        count(&AttachRequest::SHAPE, &request.encode_to_vec())
    }

    #[test]
    fn all_that_may_be_many_is_counted() {
        let run = DeliveryRun {
            deliveries: vec![Delivery::default(); 3],
            ..DeliveryRun::default()
        };
        let returned = Returned {
            runs: vec![run; 2],
            taken: vec![TakenMark::default(); 5],
            last: true,
        };
        let of = |entry| UplinkEntry {
            link: 1,
            sequence: 300,
            entry: Some(entry),
            read_at_micros: 9,
        };
        let uplink = Uplink {
            entries: vec![
                of(Entry::Returned(returned)),
                of(Entry::Closed(LinkClosed::default())),
            ],
            looked_at: vec![LookedAt {
                number: 1,
                rows: vec![LinkFigures::default(); 7],
            }],
            ..Uplink::default()
        };
        // The uplink, two entries, what the one gives back: two runs of three deliveries, five marks. Seven links were
        // looked at.
        assert_eq!(pieces(attach_request::Frame::Uplink(uplink)), 25);

        let hello = AttachHello {
            roster: vec!["gateway".to_owned(); 4],
            ..AttachHello::default()
        };
        assert_eq!(pieces(attach_request::Frame::Hello(hello)), 5);
    }

    #[test]
    fn what_cannot_be_read_ends_the_count() {
        // An empty entry, a group of an unknown field with one in it, one more, and half a length.
        let bytes = [0x0a, 0, 0x7b, 0x0a, 0, 0x7c, 0x0a, 0, 0x0a, 0x80];
        assert_eq!(count(&UPLINK, &bytes), 3);
        assert_eq!(count(&UPLINK, &[]), 0);
    }
}
