//! Raw protobuf fields: what bodies are made of before anybody knows which message they are.

/// Wire type of a varint.
pub const VARINT: u8 = 0;
/// Wire type of eight bytes.
pub const FIXED64: u8 = 1;
/// Wire type of a length-delimited field.
pub const DELIMITED: u8 = 2;
/// Wire type that opens a group.
pub const GROUP_START: u8 = 3;
/// Wire type that closes a group.
pub const GROUP_END: u8 = 4;
/// Wire type of four bytes.
pub const FIXED32: u8 = 5;

/// One varint field.
pub fn number(field: u32, value: impl Into<u64>) -> Vec<u8> {
    [tag(field, VARINT), varint(value.into())].concat()
}

/// One length-delimited field: bytes, a string, a message.
pub fn bytes(field: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [
        tag(field, DELIMITED),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

/// A field's key alone, for bodies that end or go wrong after it.
pub fn tag(field: u32, wire_type: u8) -> Vec<u8> {
    varint(u64::from(field) << 3 | u64::from(wire_type))
}

/// The bytes of a varint.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number, never 0.
    pub number: u64,
    /// Its value, by wire type.
    pub value: Value<'a>,
}

/// A field's value, not yet interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5: eight or four bytes.
    Fixed(&'a [u8]),
    /// Wire type 2.
    Delimited(&'a [u8]),
    /// Wire types 3 and 4: a well-formed group, content skipped.
    Group,
}

impl Value<'_> {
    /// The wire type that the value had.
    pub fn wire_type(&self) -> u8 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Fixed(bytes) if bytes.len() == 8 => FIXED64,
            Self::Fixed(_) => FIXED32,
            Self::Delimited(_) => DELIMITED,
            Self::Group => GROUP_START,
        }
    }
}

/// The bytes are not a protobuf message, whatever its fields may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// All fields of a body, in wire order.
///
/// # Errors
/// [`Malformed`] where the C++ parser refuses: truncated, field number 0, wire type 6 or 7, a
/// varint of more than ten bytes, a group that does not end, an end without a group.
pub fn fields(mut rest: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (field, after) = read_field(rest)?;
        found.push(field);
        rest = after;
    }
    Ok(found)
}

/// The varints of a packed field.
///
/// # Errors
/// [`Malformed`] if the last one is cut off.
pub fn packed(mut rest: &[u8]) -> Result<Vec<u64>, Malformed> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (value, after) = read_varint(rest)?;
        found.push(value);
        rest = after;
    }
    Ok(found)
}

fn read_field(data: &[u8]) -> Result<(Field<'_>, &[u8]), Malformed> {
    let (key, rest) = read_varint(data)?;
    let (number, wire_type) = (key >> 3, key as u8 & 7);
    if number == 0 {
        return Err(Malformed);
    }
    let (value, rest) = match wire_type {
        VARINT => {
            let (value, rest) = read_varint(rest)?;
            (Value::Varint(value), rest)
        }
        FIXED64 | FIXED32 => {
            let size = if wire_type == FIXED64 { 8 } else { 4 };
            let (value, rest) = rest.split_at_checked(size).ok_or(Malformed)?;
            (Value::Fixed(value), rest)
        }
        DELIMITED => {
            let (size, rest) = read_varint(rest)?;
            let size = usize::try_from(size).map_err(|_| Malformed)?;
            let (value, rest) = rest.split_at_checked(size).ok_or(Malformed)?;
            (Value::Delimited(value), rest)
        }
        GROUP_START => (Value::Group, skip_group(number, rest)?),
        _ => return Err(Malformed),
    };
    Ok((Field { number, value }, rest))
}

/// What follows the end of group `number`, whose start has been read.
fn skip_group(number: u64, mut rest: &[u8]) -> Result<&[u8], Malformed> {
    loop {
        let (key, after) = read_varint(rest)?;
        if key as u8 & 7 == GROUP_END {
            return if key >> 3 == number {
                Ok(after)
            } else {
                Err(Malformed)
            };
        }
        (_, rest) = read_field(rest)?;
    }
}

fn read_varint(data: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut value = 0;
    for (index, byte) in data.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Ok((value, &data[index + 1..]));
        }
    }
    Err(Malformed)
}
