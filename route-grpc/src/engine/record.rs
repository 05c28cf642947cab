//! The record as engines keep it: JSON, which people can read, too.

use route_leadership::{Record, State, Stored};
use serde::{Deserialize, Serialize};

/// The version of the record's form. One more for a change that makes a node of the version before act wrongly; a field
/// that it may ignore is none.
pub const PROTOCOL: u32 = 1;

/// Longest record that is read or written, bytes: 1024 gateways with the longest ids have room.
pub const LONGEST: usize = 256 << 10;

pub use crate::tenure::Member;

/// How others reach the node that wrote a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Author {
    /// Its name, for people.
    pub node_id: String,
    /// The URL of its public port.
    pub api_url: String,
    /// The URL of its port for gateways; may be empty.
    pub attach_url: String,
    /// The version of its program.
    pub version: String,
}

/// The record as it was found, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The record and its revision.
    pub stored: Stored<Member>,
    /// The node that wrote it.
    pub author: Author,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    protocol: u32,
    term: u64,
    node: u64,
    counter: u64,
    state: WrittenState,
    roster: Vec<Member>,
    #[serde(flatten)]
    author: Author,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenState {
    Beginning,
    Serving,
    Released,
}

/// What can be read of a record of any version.
#[derive(Debug, Deserialize)]
struct AnyVersion {
    protocol: u32,
    #[serde(default)]
    version: String,
}

/// What is written.
pub(crate) fn encode(record: &Record<Member>, author: &Author) -> Vec<u8> {
    let written = Written {
        protocol: PROTOCOL,
        term: record.term,
        node: record.node,
        counter: record.counter,
        state: match record.state {
            State::Beginning => WrittenState::Beginning,
            State::Serving => WrittenState::Serving,
            State::Released => WrittenState::Released,
        },
        roster: record.roster.iter().cloned().collect(),
        author: author.clone(),
    };
    serde_json::to_vec(&written).expect("numbers and text are JSON")
}

/// Reads what was written.
///
/// # Errors
///
/// It is of a later protocol, or none; a sentence says which.
pub(crate) fn decode(bytes: &[u8], revision: u64) -> Result<Found, String> {
    if bytes.len() > LONGEST {
        let length = bytes.len();
        return Err(format!(
            "the site's record has {length} bytes, more than any node writes: has something else written it?"
        ));
    }
    let unreadable = |error: serde_json::Error| {
        format!("the site's record cannot be read, and so is not replaced: {error}")
    };
    let any: AnyVersion = serde_json::from_slice(bytes).map_err(unreadable)?;
    if any.protocol > PROTOCOL {
        let AnyVersion { protocol, version } = any;
        return Err(format!(
            "the site's record was written by a node of version {version:?} in protocol {protocol}, and this node knows \
             {PROTOCOL}: update it"
        ));
    }
    let written: Written = serde_json::from_slice(bytes).map_err(unreadable)?;
    let record = Record {
        term: written.term,
        node: written.node,
        counter: written.counter,
        state: match written.state {
            WrittenState::Beginning => State::Beginning,
            WrittenState::Serving => State::Serving,
            WrittenState::Released => State::Released,
        },
        roster: written.roster.into_iter().collect(),
    };
    Ok(Found {
        stored: Stored { revision, record },
        author: written.author,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::MAX_GATEWAYS;
    use crate::limits::MAX_ID_BYTES;

    fn author() -> Author {
        Author {
            node_id: "node-0".to_owned(),
            api_url: "http://node-0:50051".to_owned(),
            attach_url: "http://node-0:50052".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }

    fn record(gateways: usize) -> Record<Member> {
        let member = |number| Member {
            id: format!("{number:0>MAX_ID_BYTES$}"),
            incarnation: u64::MAX,
        };
        Record {
            term: u64::MAX,
            node: u64::MAX,
            counter: 7,
            state: State::Serving,
            roster: (0..gateways).map(member).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_with_the_fullest_roster() {
        let record = record(MAX_GATEWAYS);
        let bytes = encode(&record, &author());
        assert!(bytes.len() <= LONGEST, "{}", bytes.len());

        let found = decode(&bytes, 9).expect("it is a record");
        let stored = Stored {
            revision: 9,
            record,
        };
        assert_eq!(found.stored, stored);
        assert_eq!(found.author, author());
    }

    #[test]
    fn its_form_stays() {
        let mut record = record(0);
        record.roster.insert(Member {
            id: "gateway-0".to_owned(),
            incarnation: 5,
        });
        record.state = State::Beginning;
        let text = String::from_utf8(encode(&record, &author())).expect("it is text");
        assert_eq!(
            text,
            concat!(
                r#"{"protocol":1,"term":18446744073709551615,"node":18446744073709551615,"counter":7,"#,
                r#""state":"beginning","roster":[{"id":"gateway-0","incarnation":5}],"node_id":"node-0","#,
                r#""api_url":"http://node-0:50051","attach_url":"http://node-0:50052","version":"0.1.0"}"#
            )
        );
    }

    #[test]
    fn fields_of_a_later_version_are_ignored_and_a_later_protocol_is_not_read() {
        let text = String::from_utf8(encode(&record(0), &author())).expect("it is text");
        let more = text.replacen('{', r#"{"mood":"good","#, 1);
        assert!(decode(more.as_bytes(), 1).is_ok());

        let later = r#"{"protocol":2,"version":"0.9.0","leader":"node-1"}"#;
        let problem = decode(later.as_bytes(), 1).expect_err("it is later");
        assert!(
            problem.contains("version \"0.9.0\" in protocol 2"),
            "{problem}"
        );
        assert!(problem.ends_with("update it"), "{problem}");
    }

    #[test]
    fn what_is_no_record_is_an_error_and_never_none() {
        for (bytes, told) in [
            (b"".as_slice(), "cannot be read"),
            (b"{}", "missing field `protocol`"),
            (br#"{"protocol":1}"#, "missing field"),
            (b"\xff", "cannot be read"),
            (&[b' '; LONGEST + 1], "more than any node writes"),
        ] {
            let problem = decode(bytes, 1).expect_err("it is no record");
            assert!(problem.contains(told), "{problem}");
        }
    }
}
