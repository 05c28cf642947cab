//! The bucket, as JetStream's JSON has it: what is asked, and what the answers mean.

use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tracing::info;

use super::super::record::LONGEST;
use super::super::{ANSWER_LIMIT, NotWritten};
use super::request;

/// The header with the revision that a write replaces, 0 for none.
pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// A write names another revision than there is.
const WRONG_REVISION: u64 = 10071;
/// Another write is on its way, perhaps an earlier one of the same node, and nothing is decided.
const NOT_DECIDED: u64 = 10164;
/// There is no entry.
const NO_ENTRY: u64 = 10037;
/// There is no bucket.
const NO_BUCKET: u64 = 10059;

/// Servers that keep the record, where NATS is a cluster: with two, it would stop when one is lost.
const REPLICAS: u64 = 3;

/// A cluster elects who keeps a new bucket.
const CREATION_LIMIT: Duration = Duration::from_secs(5);

/// Names of what NATS has for one site.
#[derive(Debug)]
pub(super) struct Bucket {
    name: String,
    stream: String,
    /// The subject of the record's entry.
    pub(super) entry: String,
    /// The subject on which writers say that they have written.
    pub(super) changes: String,
}

/// What the entry has.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) revision: u64,
    /// Empty, if somebody has deleted it.
    pub(super) value: Vec<u8>,
}

/// Why there is no answer in an answer.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) told: String,
    /// Somebody has deleted the bucket.
    pub(super) is_bucket_gone: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    error: Option<ApiError>,
    message: Option<StoredMessage>,
    config: Option<StreamConfig>,
    seq: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
struct StoredMessage {
    seq: u64,
    #[serde(default)]
    data: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamConfig {
    subjects: Vec<String>,
    max_msgs_per_subject: i64,
    /// Nanoseconds.
    max_age: i64,
    storage: String,
    retention: String,
    num_replicas: u64,
    no_ack: bool,
    sealed: bool,
}

impl Bucket {
    pub(super) fn of_site(site: &str) -> Self {
        let name = format!("teamtalk-{site}");
        Self {
            stream: format!("KV_{name}"),
            entry: format!("$KV.{name}.router"),
            changes: format!("teamtalk.{site}.changed"),
            name,
        }
    }

    /// Subject and content of the question for the entry. The leader of the stream answers it, never a replica.
    pub(super) fn last(&self) -> (String, Vec<u8>) {
        let question = json!({ "last_by_subj": self.entry });
        (
            format!("$JS.API.STREAM.MSG.GET.{}", self.stream),
            question.to_string().into_bytes(),
        )
    }

    /// The answer to it; none if there is no entry.
    pub(super) fn read_last(&self, answer: &[u8]) -> Result<Option<Entry>, Problem> {
        let told = |told| Problem {
            told,
            is_bucket_gone: false,
        };
        let answer = parse(answer).map_err(told)?;
        if let Some(error) = answer.error {
            return match error.err_code {
                NO_ENTRY => Ok(None),
                NO_BUCKET => Err(Problem {
                    told: format!("the bucket {} has been deleted from NATS", self.name),
                    is_bucket_gone: true,
                }),
                _ => Err(told(error.told())),
            };
        }
        let Some(message) = answer.message else {
            return Err(told("the answer of NATS has no message".to_owned()));
        };
        // A third is more than four letters for three bytes need.
        if message.data.len() / 3 * 2 > LONGEST {
            return Err(told(format!(
                "{} has an entry that no node wrote",
                self.name
            )));
        }
        let value = BASE64_STANDARD.decode(message.data);
        let value =
            value.map_err(|error| told(format!("the answer of NATS is damaged: {error}")))?;
        Ok(Some(Entry {
            revision: message.seq,
            value,
        }))
    }

    /// Makes the bucket, if it is missing, and looks whether it keeps what it is to keep.
    ///
    /// # Errors
    ///
    /// Not answered, or it does not; a sentence says what to mend.
    pub(super) async fn prepare(&self, client: &Client) -> Result<(), String> {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.stream);
        let answer = request(
            client,
            &subject,
            Bytes::new(),
            HeaderMap::new(),
            ANSWER_LIMIT,
        )
        .await?;
        let answer = parse(&answer.payload)?;
        match (answer.error, answer.config) {
            (Some(error), _) if error.err_code == NO_BUCKET => self.create(client).await,
            (Some(error), _) => Err(error.told()),
            (None, Some(config)) => self.check(&config),
            (None, None) => Err("the answer of NATS has no settings in it".to_owned()),
        }
    }

    async fn create(&self, client: &Client) -> Result<(), String> {
        let is_cluster = client.server_info().cluster.is_some();
        let replicas = if is_cluster { REPLICAS } else { 1 };
        let subject = format!("$JS.API.STREAM.CREATE.{}", self.stream);
        let settings = self.settings(replicas).to_string();
        let answer = request(
            client,
            &subject,
            settings.into(),
            HeaderMap::new(),
            CREATION_LIMIT,
        )
        .await?;
        let name = &self.name;
        match parse(&answer.payload)?.error {
            None => {
                info!(bucket = %name, replicas, "made the bucket of the site's record in NATS");
                Ok(())
            }
            Some(error) => Err(format!(
                "NATS does not make the bucket {name} with {replicas} replicas ({}): have all its servers started, and may \
                 this node? A cluster of fewer than three needs one that is made by hand: `nats kv add {name} --replicas=1`",
                error.description
            )),
        }
    }

    fn settings(&self, replicas: u64) -> Value {
        json!({
            "name": self.stream,
            "description": "TeamTalk Route: which node leads",
            "subjects": [format!("$KV.{}.>", self.name)],
            "retention": "limits",
            "storage": "file",
            "num_replicas": replicas,
            "max_msgs_per_subject": 1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_consumers": -1,
            "discard": "new",
            "deny_delete": true,
            "allow_rollup_hdrs": true,
            "allow_direct": false,
        })
    }

    /// What in these settings would lose or hide a record.
    fn check(&self, config: &StreamConfig) -> Result<(), String> {
        let name = &self.name;
        let stream = &self.stream;
        let edit = |flag: &str| format!("mend it by `nats stream edit {stream} {flag}`");
        let again =
            format!("stop all nodes, delete it by `nats kv del {name}`, and let a node make it");
        let (problem, advice) = if config.storage != "file" {
            ("keeps the record in memory, and forgets it", again)
        } else if config.max_age != 0 {
            ("forgets the record after a time", edit("--max-age=0s"))
        } else if config.max_msgs_per_subject != 1 {
            let advice = edit("--max-msgs-per-subject=1");
            ("keeps more revisions than one", advice)
        } else if config.subjects != [format!("$KV.{name}.>")] || config.retention != "limits" {
            ("is no bucket of keys and values", again)
        } else if config.sealed || config.no_ack {
            ("takes no writes, or does not answer them", again)
        } else {
            return Ok(());
        };
        Err(format!("the bucket {name} of NATS {problem}: {advice}"))
    }
}

/// The revision that a write has made.
pub(super) fn read_written(answer: &[u8]) -> Result<u64, NotWritten> {
    let answer = parse(answer).map_err(NotWritten::Unanswered)?;
    match (answer.error, answer.seq) {
        (Some(error), _) if error.err_code == WRONG_REVISION => Err(NotWritten::Refused),
        (Some(error), _) if error.err_code == NOT_DECIDED => Err(NotWritten::Unanswered(
            "another write to the record is on its way in NATS".to_owned(),
        )),
        (Some(error), _) => Err(NotWritten::Unanswered(error.told())),
        (None, Some(revision)) => Ok(revision),
        (None, None) => Err(NotWritten::Unanswered(
            "the answer of NATS has no revision in it".to_owned(),
        )),
    }
}

impl ApiError {
    fn told(&self) -> String {
        let Self {
            err_code,
            description,
        } = self;
        format!("NATS says: {description} ({err_code})")
    }
}

fn parse(answer: &[u8]) -> Result<Answer, String> {
    serde_json::from_slice(answer)
        .map_err(|error| format!("the answer of NATS is unknown: {error}"))
}
