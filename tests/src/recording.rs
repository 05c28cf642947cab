//! What the C++ RouteServer did in each play, as it was recorded, and how another outcome differs
//! from it.
//!
//! A recording is a JSON file in `tests/golden/`: per connection the PDUs it got, in order, and
//! facts that are not in the PDUs. Heartbeats and barriers are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::player::pdu::Pdu;
use crate::player::schema::{self, hex};

/// PDUs longer than this are recorded by length and digest.
const LONG: usize = 400;
/// Differences shown per connection.
const SHOWN: usize = 4;
/// Characters shown of one event.
const SHOWN_TEXT: usize = 300;
/// Facts that are times, and by how many seconds they may differ.
const TOLERANCE: [(&str, f64); 2] = [("seconds_to_timeout", 1.6), ("heartbeat_gaps", 1.3)];

/// What was observed in one play.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// By connection: its events, in order.
    pub connections: BTreeMap<String, Vec<Json>>,
    /// What is not in the PDUs.
    pub facts: Map<String, Json>,
}

impl Outcome {
    /// Reads the recording of a play.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn recorded(play: &str) -> Result<Self, String> {
        let path = folder().join(format!("{play}.json"));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("no recording at {}: {error}", path.display()))?;
        let record: Json = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not JSON: {error}", path.display()))?;
        let mut outcome = Self::default();
        for (name, events) in record["conns"].as_object().into_iter().flatten() {
            let events = events.as_array().cloned().unwrap_or_default();
            outcome.connections.insert(name.clone(), events);
        }
        if let Some(facts) = record["facts"].as_object() {
            outcome.facts = facts.clone();
        }
        Ok(outcome)
    }

    /// Every difference to the outcome `wanted`, readably; empty if there is none that matters.
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        let mut out = Vec::new();
        let names: BTreeSet<_> = (self.connections.keys())
            .chain(wanted.connections.keys())
            .collect();
        for name in names {
            match (self.connections.get(name), wanted.connections.get(name)) {
                (Some(got), Some(want)) => compare_events(name, want, got, &mut out),
                (got, _) => {
                    let side = if got.is_some() { "new" } else { "recorded" };
                    out.push(format!("connection {name}: only in the {side} outcome"));
                }
            }
        }
        let keys: BTreeSet<_> = self.facts.keys().chain(wanted.facts.keys()).collect();
        for key in keys {
            let (want, got) = (wanted.facts.get(key), self.facts.get(key));
            if !close_enough(key, want, got) {
                out.push(format!(
                    "{key}: expected {}, got {}",
                    shown(want),
                    shown(got)
                ));
            }
        }
        out
    }
}

/// The names of all recordings.
///
/// # Errors
/// A sentence that names the folder.
pub fn names() -> Result<BTreeSet<String>, String> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("no recordings in {}: {error}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".json") {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// The recordings' way to write one PDU.
pub fn event(raw: &Bytes) -> Json {
    let pdu = Pdu::parse(raw);
    let body = schema::of_command(pdu.command)
        .and_then(|schema| Some((schema, schema.read(&pdu.body).ok()?)));
    let mut out = json!({
        "sid": pdu.service,
        "cid": format!("{:04x}", pdu.command),
        "seq": pdu.sequence,
    });
    if (pdu.version, pdu.flag, pdu.reserved) != (1, 0, 0) {
        out["head"] = json!([pdu.version, pdu.flag, pdu.reserved]);
    }
    if raw.len() > LONG {
        out["len"] = json!(raw.len());
        out["sha256"] = json!(hex(&Sha256::digest(raw)));
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        for entry in body
            .iter()
            .flat_map(|(_, body)| body.messages("user_stat_list"))
        {
            let status = entry.number("status").unwrap_or_default();
            *statuses.entry(status.to_string()).or_default() += 1;
        }
        if !statuses.is_empty() {
            out["statuses"] = json!(statuses);
        }
    } else {
        if let Some((schema, body)) = body {
            out["body"] = body.to_json(schema);
        }
        out["raw"] = json!(hex(raw));
    }
    out
}

/// Bytes in hexadecimal, or how many there are if they are too many to show.
pub fn short_hex(bytes: &[u8]) -> String {
    if bytes.len() <= LONG {
        hex(bytes)
    } else {
        format!("{} bytes", bytes.len())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn compare_events(name: &str, want: &[Json], got: &[Json], out: &mut Vec<String>) {
    if want.len() != got.len() {
        out.push(format!(
            "connection {name}: {} events, expected {}",
            got.len(),
            want.len()
        ));
    }
    let mut differing = 0;
    for index in 0..want.len().max(got.len()) {
        let (want, got) = (want.get(index), got.get(index));
        if want == got {
            continue;
        }
        differing += 1;
        if differing > SHOWN {
            out.push(format!("connection {name}: further differences not shown"));
            return;
        }
        out.push(format!(
            "connection {name} event {index}:\n      expected {}\n      got      {}",
            shown(want),
            shown(got)
        ));
    }
}

fn close_enough(key: &str, want: Option<&Json>, got: Option<&Json>) -> bool {
    let slack = TOLERANCE.iter().find(|(name, _)| *name == key);
    let (Some((_, slack)), Some(want), Some(got)) = (slack, want, got) else {
        return want == got;
    };
    match (want.as_array(), got.as_array()) {
        (Some(want), Some(got)) => {
            want.len() == got.len()
                && want
                    .iter()
                    .zip(got)
                    .all(|(want, got)| near(want, got, *slack))
        }
        _ => near(want, got, *slack),
    }
}

fn near(want: &Json, got: &Json, slack: f64) -> bool {
    match (want.as_f64(), got.as_f64()) {
        (Some(want), Some(got)) => (want - got).abs() <= slack,
        _ => want == got,
    }
}

fn shown(value: Option<&Json>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    let length = text.chars().count();
    if length <= SHOWN_TEXT {
        return text;
    }
    let start: String = text.chars().take(SHOWN_TEXT).collect();
    format!("{start}... ({length} characters)")
}
