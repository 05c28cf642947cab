//! What the fields of a gateway's messages may be, where their types allow more. Each refusal names
//! the field.

use route_proto::pdu::{HEADER_LEN, Header};

use crate::refusal::Refusal;

/// Numbers are below this: nobody counts that far, and what is added to one does not overflow.
const NUMBERS_END: u64 = 1 << 63;

/// A W3C traceparent has 55 bytes; a later version may have more.
const MAX_TRACEPARENT: usize = 128;

/// A running number, a clock or a position.
pub(super) fn number(field: &'static str, number: u64) -> Result<(), Refusal> {
    if number < NUMBERS_END {
        return Ok(());
    }
    Err(Refusal::field(field, format!("{number} is too large")))
}

/// A running number that counts from 1.
pub(super) fn count(field: &'static str, count: u64) -> Result<(), Refusal> {
    if count == 0 {
        return Err(Refusal::field(field, "counts from 1"));
    }
    number(field, count)
}

/// A text of so many bytes at most.
pub(super) fn length(field: &'static str, bytes: usize, most: usize) -> Result<(), Refusal> {
    if bytes <= most {
        return Ok(());
    }
    let problem = format!("{bytes} long, at most {most} are allowed");
    Err(Refusal::field(field, problem))
}

/// How a message is traced.
pub(super) fn traceparent(field: &'static str, text: &str) -> Result<(), Refusal> {
    length(field, text.len(), MAX_TRACEPARENT)
}

/// A whole PDU, as its header says, or links would read on in its middle.
pub(super) fn pdu(field: &'static str, pdu: &[u8], most: usize) -> Result<Header, Refusal> {
    length(field, pdu.len(), most)?;
    let Some(header) = pdu.first_chunk::<HEADER_LEN>() else {
        let problem = format!("{} bytes, a PDU has at least {HEADER_LEN}", pdu.len());
        return Err(Refusal::field(field, problem));
    };
    let header = Header::read(header);
    if header.length as usize != pdu.len() {
        let problem = format!("{} bytes, its header says {}", pdu.len(), header.length);
        return Err(Refusal::field(field, problem));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use route_proto::pdu::framed;

    use super::*;

    #[test]
    fn numbers_have_room_to_grow() {
        assert!(number("n", 0).is_ok() && count("n", 1).is_ok());
        assert!(number("n", NUMBERS_END - 1).is_ok());
        for wrong in [NUMBERS_END, u64::MAX] {
            assert!(number("n", wrong).is_err() && count("n", wrong).is_err());
        }
        assert!(count("n", 0).is_err());
    }

    #[test]
    fn a_pdu_is_as_long_as_it_says() {
        let whole = framed(0x0301, 0, b"body");

        assert_eq!(pdu("pdu", &whole, 100).unwrap().command, 0x0301);
        assert!(pdu("pdu", &whole, whole.len() - 1).is_err(), "too long");
        for wrong in [&whole[..19], &whole[..7], b"", &[&whole[..], b"x"].concat()] {
            let refusal = pdu("pdu", wrong, 100).unwrap_err();
            assert!(refusal.to_string().starts_with("pdu: "), "{refusal}");
        }
    }
}
