//! Protobuf on the wire, read as the C++ MsgServers and the C++ RouteServer read it (proto2, libprotobuf 2.6).
//!
//! [`Fields`] walks over a message without copying. What a field means is for its caller: it takes the fields that it
//! knows with the wire type that it expects and ignores everything else, which makes a field of another wire type an
//! unknown field, as in C++.
//!
//! Absent on purpose: prost. It does not enforce proto2's required fields and closed enums, and it would allocate.

/// Groups within groups that are still skipped. C++ stops at the same depth.
const MAX_GROUP_DEPTH: u32 = 100;

/// Longest encoding of a varint, bytes.
const MAX_VARINT: usize = 10;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// Bytes that are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field ends behind the end of its message.
    #[error("a field is cut off")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("a varint is longer than ten bytes")]
    LongVarint,
    /// Tag 0, a wire type that does not exist, or the end of a group that did not begin.
    #[error("tag {0} is not valid here")]
    BadTag(u32),
    /// More than 100 groups in each other.
    #[error("groups are nested too deeply")]
    TooDeep,
}

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// All 64 bits. C++ keeps the low 32 of them for 32-bit fields and enums: see [`low32`].
    Varint(u64),
    /// A string, bytes, a message or a packed list.
    Bytes(&'a [u8]),
    /// Fixed-width number or group, skipped: no legacy message has one.
    Skipped,
}

/// The bits of a varint that a 32-bit field keeps.
#[allow(clippy::cast_possible_truncation)] // that is the point
pub(crate) fn low32(varint: u64) -> u32 {
    varint as u32
}

/// The fields of one message, in order. After an error it yields nothing more.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads `message`.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), WireError> {
        let tag = low32(varint(&mut self.rest)?);
        let number = tag >> 3;
        let value = match tag & 7 {
            VARINT if tag != 0 => Value::Varint(varint(&mut self.rest)?),
            LENGTH_DELIMITED => Value::Bytes(delimited(&mut self.rest)?),
            FIXED64 => skip(&mut self.rest, 8)?,
            FIXED32 => skip(&mut self.rest, 4)?,
            START_GROUP => skip_group(&mut self.rest, number)?,
            _ => return Err(WireError::BadTag(tag)),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends the numbers of a list, packed or not.
pub(crate) fn append_ids(value: Value<'_>, ids: &mut Vec<u32>) -> Result<(), WireError> {
    match value {
        Value::Varint(id) => ids.push(low32(id)),
        Value::Bytes(list) => packed(list, ids)?,
        Value::Skipped => {}
    }
    Ok(())
}

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, value: u32) {
    put_varint(out, field << 3 | VARINT);
    put_varint(out, value);
}

/// Appends text, bytes, or a message that is encoded already.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    // No body here is that long.
    put_varint(out, u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(value);
}

/// Appends a message that `body` writes.
pub(crate) fn put_message(out: &mut Vec<u8>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    let start = out.len();
    // Room for the length of nearly all of them.
    out.push(0);
    body(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    let mut long = Vec::new();
    put_varint(&mut long, u32::try_from(length).unwrap_or(u32::MAX));
    out.splice(start..=start, long);
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the numbers of a packed list.
fn packed(list: &[u8], out: &mut Vec<u32>) -> Result<(), WireError> {
    let mut rest = list;
    while !rest.is_empty() {
        out.push(low32(varint(&mut rest)?));
    }
    Ok(())
}

#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let bytes = *rest;
    // Nearly all tags, statuses and types have one byte.
    if let [first, tail @ ..] = bytes
        && *first < 0x80
    {
        *rest = tail;
        return Ok(u64::from(*first));
    }
    long_varint(rest)
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for (index, byte) in rest.iter().take(MAX_VARINT).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    if rest.len() < MAX_VARINT {
        Err(WireError::Truncated)
    } else {
        Err(WireError::LongVarint)
    }
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    // C++ reads the length as 32 bits and refuses what would be negative; both are beyond any body here.
    let length = low32(varint(rest)?) as usize;
    let (value, tail) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
    *rest = tail;
    Ok(value)
}

fn skip<'a>(rest: &mut &'a [u8], length: usize) -> Result<Value<'a>, WireError> {
    *rest = rest.get(length..).ok_or(WireError::Truncated)?;
    Ok(Value::Skipped)
}

fn skip_group<'a>(rest: &mut &'a [u8], number: u32) -> Result<Value<'a>, WireError> {
    let mut open = vec![number];
    while let Some(innermost) = open.last() {
        let tag = low32(varint(rest)?);
        match tag & 7 {
            VARINT if tag != 0 => {
                varint(rest)?;
            }
            LENGTH_DELIMITED => {
                delimited(rest)?;
            }
            FIXED64 => {
                skip(rest, 8)?;
            }
            FIXED32 => {
                skip(rest, 4)?;
            }
            START_GROUP if open.len() as u32 >= MAX_GROUP_DEPTH => return Err(WireError::TooDeep),
            START_GROUP => open.push(tag >> 3),
            END_GROUP if tag >> 3 == *innermost => {
                open.pop();
            }
            _ => return Err(WireError::BadTag(tag)),
        }
    }
    Ok(Value::Skipped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_wire_type() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x12, 0x02, b'h', b'i', // 2: bytes
            0x19, 1, 2, 3, 4, 5, 6, 7, 8, // 3: fixed64
            0x25, 1, 2, 3, 4, // 4: fixed32
            0x2b, 0x08, 0x01, 0x33, 0x34, 0x2c, // 5: a group with a field and a group
            0x30, 0x00, // 6: varint 0
        ];

        let fields: Vec<_> = Fields::new(&message).map(Result::unwrap).collect();

        assert_eq!(
            fields,
            [
                (1, Value::Varint(150)),
                (2, Value::Bytes(b"hi")),
                (3, Value::Skipped),
                (4, Value::Skipped),
                (5, Value::Skipped),
                (6, Value::Varint(0)),
            ]
        );
    }

    #[test]
    fn refuses_what_cpp_refuses() {
        let cases: [(&[u8], WireError); 11] = [
            (&[0x08], WireError::Truncated),
            (&[0x08, 0xff], WireError::Truncated),
            (&[0x12, 0x05, b'a', b'b'], WireError::Truncated),
            (&[0x09, 1, 2], WireError::Truncated),
            (&[0x33, 0x08, 0x01], WireError::Truncated),
            (&[0x00, 0x01], WireError::BadTag(0)),
            (&[0x3c], WireError::BadTag(0x3c)),
            (&[0x3e], WireError::BadTag(0x3e)),
            (&[0x33, 0x3c], WireError::BadTag(0x3c)),
            (
                &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1],
                WireError::LongVarint,
            ),
            (&[0x33; 200], WireError::TooDeep),
        ];

        for (message, error) in cases {
            assert_eq!(
                Fields::new(message).last(),
                Some(Err(error)),
                "{message:02x?}"
            );
        }
    }

    #[test]
    fn varints_keep_their_low_32_bits() {
        // given: user id 2^32 + 7
        let message = [0x08, 0x87, 0x80, 0x80, 0x80, 0x10];

        let field = Fields::new(&message).next().unwrap().unwrap();

        assert_eq!(field, (1, Value::Varint((1 << 32) + 7)));
        assert_eq!(low32((1 << 32) + 7), 7);
    }

    #[test]
    fn a_packed_list_is_read_whole_or_refused() {
        let mut ids = Vec::new();

        assert_eq!(packed(&[1, 0xac, 0x02, 3], &mut ids), Ok(()));
        assert_eq!(packed(&[1, 0xac], &mut ids), Err(WireError::Truncated));

        assert_eq!(ids, [1, 300, 3, 1]);
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let fields = Fields::new(&bytes).count();
            prop_assert!(fields <= bytes.len());
        }

        #[test]
        fn varints_are_read_as_they_were_written(value in any::<u64>()) {
            let mut bytes = vec![0x08];
            let mut rest = value;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);

            let field = Fields::new(&bytes).next().unwrap().unwrap();

            prop_assert_eq!(field, (1, Value::Varint(value)));
        }
    }
}
