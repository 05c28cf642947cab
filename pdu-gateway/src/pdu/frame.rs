//! Frames: PDUs cut out of a byte stream.
//!
//! A PDU that lies whole in what was read is borrowed from there; only one that is cut by the end of a read is
//! gathered in memory of its own. A short one has that at once; for a long one it is kept exactly as it came, until
//! whoever reads has [made room](Framer::make_room) for the whole. So nothing is copied while it grows.

use bytes::Bytes;
use route_proto::pdu::{HEADER_LEN, Header};
use route_runtime::budget::CutOff;

use crate::pdu::protocol::Protocol;

/// A PDU of no more bytes is gathered without asking for memory: most fit.
pub const SHORT: usize = 16 << 10;

/// A length that no PDU can have. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own header.
    #[error("a PDU claims {length} bytes, less than its header has")]
    TooShort {
        /// What the header says.
        length: u32,
    },
    /// Longer than is allowed here.
    #[error("a PDU claims {length} bytes, more than the limit of {limit}")]
    TooLong {
        /// What the header says.
        length: u32,
        /// The limit, bytes.
        limit: u32,
    },
    /// What a proxy sends, where a PDU has its length.
    #[error("it sent a PROXY protocol header, but its address is not in --proxy-protocol-from")]
    ProxyHeader,
    /// What other clients send, where a PDU has its length.
    #[error("it speaks {0}, and this port is for the PDUs of MsgServers")]
    OtherProtocol(Protocol),
    /// It could be read, but others wait for its memory.
    #[error(transparent)]
    CutOff(#[from] CutOff),
}

impl FrameError {
    /// For people. Of a limit it says which flag has set it: the gateway's own limit, or a lower one of its node.
    pub fn told(self, own_limit: u32) -> String {
        match self {
            Self::TooLong { limit, .. } if limit < own_limit => {
                format!("{self}, which the node has set (--pdu-limit)")
            }
            Self::TooLong { .. } => {
                format!("{self}, which this gateway has set (--max-pdu-bytes)")
            }
            Self::TooShort { .. }
            | Self::ProxyHeader
            | Self::OtherProtocol(_)
            | Self::CutOff(_) => self.to_string(),
        }
    }
}

/// How headers of the PROXY protocol begin, versions 1 and 2.
const PROXY_HEADERS: [&[u8; 4]; 2] = [b"PROX", b"\r\n\r\n"];

/// One whole PDU.
#[derive(Debug)]
pub struct Pdu<'a> {
    raw: Raw<'a>,
}

#[derive(Debug)]
enum Raw<'a> {
    Borrowed(&'a [u8]),
    Gathered(Vec<u8>),
}

impl Pdu<'_> {
    /// Its header.
    pub fn header(&self) -> Header {
        let (header, _) = self
            .bytes()
            .split_first_chunk()
            .expect("a PDU has at least a header: the framer checks its length");
        Header::read(header)
    }

    /// What follows the header.
    pub fn body(&self) -> &[u8] {
        &self.bytes()[HEADER_LEN..]
    }

    /// The whole PDU, header included.
    pub fn bytes(&self) -> &[u8] {
        match &self.raw {
            Raw::Borrowed(bytes) => bytes,
            Raw::Gathered(bytes) => bytes,
        }
    }

    /// The whole PDU in memory of its own: copied if it was borrowed.
    pub fn into_bytes(self) -> Bytes {
        match self.raw {
            Raw::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Raw::Gathered(bytes) => Bytes::from(bytes),
        }
    }
}

/// Cuts one connection's byte stream into PDUs.
#[derive(Debug)]
pub struct Framer {
    limit: u32,
    /// The beginning of a PDU whose rest has not arrived.
    partial: Vec<u8>,
    /// How many PDUs came in pieces.
    gathered: u64,
    broken: Option<FrameError>,
}

/// A PDU that has begun and is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Another one has another number.
    pub number: u64,
    /// It is the first one of its connection.
    pub is_first: bool,
    /// How long it will be, bytes; 0 until that is known.
    pub length: usize,
    /// What has come of it takes so many bytes of memory.
    pub bytes: usize,
}

impl Framer {
    /// PDUs of more than `limit` bytes are refused.
    pub fn new(limit: u32) -> Self {
        Framer {
            limit,
            partial: Vec::new(),
            gathered: 0,
            broken: None,
        }
    }

    /// Takes the next PDU off the beginning of `data`, the bytes that arrived. `None`: `data` is used up.
    ///
    /// After an error the stream has no more PDUs: every further call returns the same error.
    pub fn next<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<Pdu<'a>>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if !self.partial.is_empty() {
            return self.complete_partial(data);
        }
        let Some(length) = self.length_of(data)? else {
            self.gather(data, HEADER_LEN);
            return Ok(None);
        };
        let Some((whole, rest)) = data.split_at_checked(length) else {
            self.gather(data, length);
            return Ok(None);
        };
        *data = rest;
        Ok(Some(Pdu {
            raw: Raw::Borrowed(whole),
        }))
    }

    /// The PDU that has begun and is not complete.
    pub fn unfinished(&self, is_first: bool) -> Option<Unfinished> {
        let length = self.partial.first_chunk().copied();
        (!self.partial.is_empty()).then(|| Unfinished {
            number: self.gathered,
            is_first,
            length: length.map_or(0, |length| u32::from_be_bytes(length) as usize),
            bytes: self.partial.capacity(),
        })
    }

    /// There is memory for all of the PDU that has begun.
    pub fn make_room(&mut self) {
        if let Some(length) = self.partial.first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let missing = length.saturating_sub(self.partial.len());
            self.partial.reserve_exact(missing);
        }
    }

    /// What has come of a PDU is not kept any longer, nor is what follows.
    pub fn break_off(&mut self, error: FrameError) {
        self.partial = Vec::new();
        self.broken = Some(error);
    }

    fn complete_partial<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<Pdu<'a>>, FrameError> {
        const LENGTH_FIELD: usize = 4;
        if self.partial.len() < LENGTH_FIELD {
            self.gather(data, LENGTH_FIELD);
        }
        let partial = std::mem::take(&mut self.partial);
        let length = self.length_of(&partial);
        self.partial = partial;
        let Some(length) = length? else {
            return Ok(None);
        };
        self.gather(data, length);
        if self.partial.len() < length {
            return Ok(None);
        }
        self.gathered += 1;
        Ok(Some(Pdu {
            raw: Raw::Gathered(std::mem::take(&mut self.partial)),
        }))
    }

    /// The length of the PDU that begins here, as soon as its four bytes are there.
    #[inline]
    fn length_of(&mut self, start: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some((length, _)) = start.split_first_chunk() else {
            return Ok(None);
        };
        let begins_proxy_header = PROXY_HEADERS.contains(&length);
        let other = Protocol::of(*length);
        let length = u32::from_be_bytes(*length);
        let limit = self.limit;
        let error = if (length as usize) < HEADER_LEN {
            FrameError::TooShort { length }
        } else if length > limit && begins_proxy_header {
            FrameError::ProxyHeader
        } else if let Some(other) = other.filter(|_| length > limit) {
            FrameError::OtherProtocol(other)
        } else if length > limit {
            FrameError::TooLong { length, limit }
        } else {
            return Ok(Some(length as usize));
        };
        self.broken = Some(error);
        self.partial = Vec::new();
        Err(error)
    }

    /// Moves bytes to the partial PDU until it has `wanted`.
    fn gather(&mut self, data: &mut &[u8], wanted: usize) {
        let take = data.len().min(wanted.saturating_sub(self.partial.len()));
        let (taken, rest) = data.split_at(take);
        let room = match wanted <= SHORT {
            true => wanted,
            false => self.partial.len() + take,
        };
        self.partial
            .reserve_exact(room.saturating_sub(self.partial.len()));
        self.partial.extend_from_slice(taken);
        *data = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use route_proto::pdu::framed;

    use super::*;

    const LIMIT: u32 = 1 << 20;

    #[test]
    fn a_limit_is_told_with_the_flag_that_sets_it() {
        let told = |limit, own| FrameError::TooLong { length: 99, limit }.told(own);

        let gateways = "a PDU claims 99 bytes, more than the limit of 50, which this gateway has set (--max-pdu-bytes)";
        assert_eq!(told(50, 50), gateways);
        assert!(told(50, 60).contains("(--pdu-limit)"));
    }

    #[test]
    fn a_header_of_a_proxy_is_told_from_a_length() {
        let v1 = b"PROXY TCP4 10.0.0.7 10.0.0.5 40000 8200\r\n";
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        for header in [&v1[..], v2] {
            for pieces in [vec![header], header.chunks(1).collect()] {
                let (pdus, error) = cut(&mut Framer::new(LIMIT), &pieces);
                assert_eq!((pdus.len(), error), (0, Some(FrameError::ProxyHeader)));
            }
        }
    }

    #[test]
    fn who_comes_to_the_wrong_port_is_known_by_the_first_bytes() {
        for (start, protocol) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], "HTTP/2"),
            (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "TLS"),
        ] {
            let (pdus, error) = cut(&mut Framer::new(LIMIT), &[start]);
            let said = error.expect("it is no PDU").to_string();
            assert!(pdus.is_empty() && said.contains(protocol), "{said}");
            assert!(said.contains("PDUs of MsgServers"), "{said}");
        }
    }

    fn pdu(command: u16, body: &[u8]) -> Vec<u8> {
        framed(command, 9, body).to_vec()
    }

    /// Everything that comes out when the stream arrives in such pieces.
    fn cut(framer: &mut Framer, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let mut pdus = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match framer.next(&mut rest) {
                    Ok(Some(pdu)) => pdus.push(pdu.into_bytes().to_vec()),
                    Ok(None) => break,
                    Err(error) => return (pdus, Some(error)),
                }
            }
            assert!(rest.is_empty(), "what arrived is used up");
        }
        (pdus, None)
    }

    #[test]
    fn a_header_is_read_as_it_is_written() {
        let bytes = [0, 0, 0, 20, 0, 1, 0, 2, 0, 3, 7, 1, 0, 5, 0, 6];

        let header = Header::read(&bytes);

        assert_eq!(
            header,
            Header {
                length: 20,
                version: 1,
                flag: 2,
                service: 3,
                command: 0x0701,
                sequence: 5,
                reserved: 6
            }
        );
        assert_eq!(header.write(), bytes);
    }

    #[test]
    fn a_bad_length_ends_the_stream_after_what_came_before() {
        for length in [0_u32, 1, 4, 15, LIMIT + 1, u32::MAX] {
            let good = pdu(0x0301, b"good");
            let mut bad = pdu(0x0601, b"bad");
            bad[..4].copy_from_slice(&length.to_be_bytes());
            let mut framer = Framer::new(LIMIT);

            let (pdus, error) = cut(&mut framer, &[&good, &bad, &good]);

            assert_eq!(pdus, std::slice::from_ref(&good));
            let expected = match length {
                0..16 => FrameError::TooShort { length },
                _ => FrameError::TooLong {
                    length,
                    limit: LIMIT,
                },
            };
            assert_eq!(error, Some(expected));
            assert_eq!(cut(&mut framer, &[&good]), (vec![], Some(expected)));
        }
    }

    #[test]
    fn lengths_at_the_limits_are_taken() {
        let shortest = pdu(0x9999, b"");
        let longest = pdu(0x0301, &vec![7; LIMIT as usize - HEADER_LEN]);
        let mut framer = Framer::new(LIMIT);

        let (pdus, error) = cut(&mut framer, &[&shortest, &longest, &shortest]);

        assert_eq!(pdus, [shortest.clone(), longest, shortest]);
        assert_eq!(error, None);
    }

    #[test]
    fn memory_is_what_has_come_until_there_is_room_for_all() {
        let limit = 16 << 20;
        let mut framer = Framer::new(limit);
        let mut claim = pdu(0x0301, &[0; 1000]);
        claim[..4].copy_from_slice(&limit.to_be_bytes());

        cut(&mut framer, &[&claim]);
        assert_eq!(framer.partial.capacity(), claim.len());
        framer.make_room();
        assert_eq!(framer.partial.capacity(), limit as usize);
        cut(&mut framer, &[&[0; 200_000]]);
        assert_eq!(framer.partial.capacity(), limit as usize);

        framer.break_off(FrameError::CutOff(CutOff));
        assert_eq!(framer.partial.capacity(), 0);
        let after = cut(&mut framer, &[&pdu(0x0301, b"")]);
        assert_eq!(after, (vec![], Some(FrameError::CutOff(CutOff))));
    }

    proptest! {
        #[test]
        fn pdus_come_out_whole_however_the_stream_is_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40),
        ) {
            let sent: Vec<Vec<u8>> = bodies.iter().map(|body| pdu(0x0301, body)).collect();
            let stream = sent.concat();
            let mut places: Vec<usize> =
                cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> =
                places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let mut framer = Framer::new(LIMIT);

            let (pdus, error) = cut(&mut framer, &pieces);

            prop_assert_eq!(pdus, sent);
            prop_assert_eq!(error, None);
            prop_assert_eq!(framer.unfinished(false), None);
        }
    }
}
