//! How bodies are read: the shapes that fields must have, and what forks of TeamTalk write differently.

use crate::pdu::wire::{self, Fields, Value, WireError};

/// The legacy protocol as the MsgServers here speak it.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// By client type.
    client_types: [bool; 256],
    lenient: bool,
}

impl Dialect {
    /// TeamTalk as published: Windows, Mac, iOS, Android; proto2.
    pub fn strict() -> Self {
        Self::new(&[], false)
    }

    /// With more client types, for forks; and, if `lenient`, with missing numbers, strings and bytes read as zero or
    /// empty, as proto3 writes them. Enums have no zero and stay required.
    pub fn new(more_client_types: &[u8], lenient: bool) -> Self {
        let mut client_types = [false; 256];
        for known in [0x01, 0x02, 0x11, 0x12].iter().chain(more_client_types) {
            client_types[usize::from(*known)] = true;
        }
        Dialect {
            client_types,
            lenient,
        }
    }

    /// Reads one message. Returns its numbers and enums by field number; hands everything else to `other`.
    pub fn read<'m>(
        &self,
        message: &'m [u8],
        shape: &[Field],
        mut other: impl FnMut(u32, Value<'m>) -> Result<(), BodyError>,
    ) -> Result<[u32; MAX_FIELDS + 1], BodyError> {
        let mut numbers = [0; MAX_FIELDS + 1];
        let mut present = 0_u32;
        for field in Fields::new(message) {
            let (number, value) = field?;
            let kind = (number as usize)
                .checked_sub(1)
                .and_then(|index| shape.get(index));
            let valid = match (kind, value) {
                (Some(Field::Number), Value::Varint(_)) | (Some(Field::Text), Value::Bytes(_)) => {
                    true
                }
                (Some(Field::OneOf(values)), Value::Varint(value)) => {
                    values.contains(&wire::low32(value))
                }
                (Some(Field::ClientType), Value::Varint(value)) => {
                    self.knows_client_type(wire::low32(value))
                }
                (Some(Field::Repeated) | None, value) => {
                    other(number, value)?;
                    false
                }
                // Another wire type: an unknown field.
                _ => false,
            };
            if valid {
                present |= 1 << number;
                if let Value::Varint(value) = value {
                    numbers[number as usize] = wire::low32(value);
                }
            }
        }
        for (number, kind) in (1..).zip(shape) {
            let optional = match kind {
                Field::Repeated => true,
                Field::Number | Field::Text => self.lenient,
                Field::OneOf(_) | Field::ClientType => false,
            };
            if !optional && present & 1 << number == 0 {
                return Err(BodyError::Missing(number));
            }
        }
        Ok(numbers)
    }

    fn knows_client_type(&self, client_type: u32) -> bool {
        let known = self.client_types.get(client_type as usize);
        known.copied().unwrap_or(false)
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self::strict()
    }
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is no protobuf message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A required field is not there, or only with another type, or an enum has a value that does not exist.
    #[error("required field {0} is missing or has no valid value")]
    Missing(u32),
    /// An update of a desktop client with a status that does not exist. (It made the C++ RouteServer abort.)
    #[error("{0} is no status")]
    Status(u32),
    /// A query about more users than its answer could tell of in a PDU.
    #[error("it asks about too many users")]
    TooMany,
}

/// Most fields that a shape has.
const MAX_FIELDS: usize = 8;

/// What a field with this number has to be; fields are numbered from 1 without a hole. All but repeated ones are
/// required.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// `uint32`.
    Number,
    /// `string` or `bytes`; C++ checks UTF-8 in neither.
    Text,
    /// A closed enum with these values.
    OneOf(&'static [u32]),
    /// The closed enum that forks extend.
    ClientType,
    /// None, one or many.
    Repeated,
}

/// Takes no notice of other fields.
pub fn ignore(_number: u32, _value: Value<'_>) -> Result<(), BodyError> {
    Ok(())
}

/// Packed or not, both are accepted.
pub fn append_ids(value: Value<'_>, ids: &mut Vec<u32>) -> Result<(), BodyError> {
    match value {
        Value::Varint(id) => ids.push(wire::low32(id)),
        Value::Bytes(list) => wire::packed(list, ids)?,
        Value::Skipped => {}
    }
    Ok(())
}
