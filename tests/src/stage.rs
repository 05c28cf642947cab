//! A stage: the named connections of one play, and what was observed on them.
//!
//! A step of a play ends with a barrier on each connection and then a silence; nothing else waits
//! for time.

use std::io;
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::deployment::Deployment;
use crate::player::connection::{BARRIER_LIMIT, Connection, Ending, Options};
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::Pdu;
use crate::recording::{self, Outcome};

/// The silence that ends a step.
const QUIET: Duration = Duration::from_millis(60);
/// A stage that is never silent goes on after this.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// The connections and observations of one play.
#[derive(Debug)]
pub struct Stage {
    address: SocketAddr,
    base: u32,
    players: Vec<Player>,
    facts: Map<String, Json>,
    activity: watch::Sender<()>,
    deployment: Option<Arc<Deployment>>,
}

#[derive(Debug)]
struct Player {
    name: String,
    connection: Connection,
    /// A muted connection takes part in no barrier, and its end is not part of the record.
    muted: bool,
}

impl Stage {
    /// A stage in front of the server at `address`. User ids are derived from the play's name, so
    /// that plays on one server do not disturb each other.
    pub fn new(name: &str, address: SocketAddr) -> Self {
        Self {
            address,
            base: 1_000_000 + crc32(name.as_bytes()) % 400_000 * 10_000,
            players: Vec::new(),
            facts: Map::new(),
            activity: watch::Sender::new(()),
            deployment: None,
        }
    }

    /// The same, where a play may also look at the server's processes.
    pub fn with_deployment(name: &str, deployment: &Arc<Deployment>) -> Self {
        Self {
            deployment: Some(Arc::clone(deployment)),
            ..Self::new(name, deployment.pdu_address())
        }
    }

    /// Connects MsgServers under these names, and waits until the server knows them.
    pub async fn open(&mut self, names: &[&str]) {
        let first = self.players.len();
        for name in names {
            let connected = self.connect(name, Options::default()).await;
            connected.expect("the server accepts");
        }
        for player in &self.players[first..] {
            player.connection.barrier(BARRIER_LIMIT).await;
        }
    }

    /// Connects one MsgServer in a way of its own.
    pub async fn open_with(&mut self, name: &str, options: Options) {
        let connected = self.connect(name, options).await;
        connected.expect("the server accepts");
        self[name].barrier(BARRIER_LIMIT).await;
    }

    /// Connects one MsgServer, if the server accepts, and says whether it gets an answer.
    pub async fn is_answered(&mut self, name: &str) -> bool {
        self.connect(name, Options::default()).await.is_ok()
            && self[name].barrier(BARRIER_LIMIT).await
    }

    /// Ends a connection from its own side.
    pub async fn close(&mut self, name: &str, ending: Ending) {
        self[name].close(ending).await;
        self.mute(name);
    }

    /// From now on the connection takes part in no barrier, and its end is not part of the record.
    pub fn mute(&mut self, name: &str) {
        self.player_mut(name).muted = true;
    }

    /// Undoes [`Stage::mute`].
    pub fn unmute(&mut self, name: &str) {
        self.player_mut(name).muted = false;
    }

    /// Writes bytes. A connection that the server has closed takes them in silence: its end is in
    /// the record.
    pub async fn raw(&self, name: &str, data: &[u8]) {
        let _ = self[name].write(data).await;
    }

    /// Writes a PDU.
    pub async fn send(&self, name: &str, pdu: Pdu) {
        self.raw(name, &pdu.encode()).await;
    }

    /// Writes a PDU, and waits until everything that it causes has come.
    pub async fn say(&self, name: &str, pdu: Pdu) {
        self.send(name, pdu).await;
        self.sync(name).await;
    }

    /// Reports a list of users.
    pub async fn list(&self, name: &str, entries: &[(u32, Status, Client)]) {
        self.send(name, messages::list(entries)).await;
    }

    /// Reports a list of users who are online on Windows.
    pub async fn online(&self, name: &str, users: &[u32]) {
        self.send(name, messages::online(users)).await;
    }

    /// Asks for the status of users, and waits for the answer; it is recorded as any other PDU.
    pub async fn ask(&self, name: &str, users: &[u32]) {
        let request = messages::query(7, users, None);
        self.say(name, request.sequence(1)).await;
    }

    /// Waits until what `first` has sent is handled, and its effects have reached every connection.
    pub async fn sync(&self, first: &str) {
        if !self.player(first).muted {
            self[first].barrier(BARRIER_LIMIT).await;
        }
        self.sync_others(Some(first)).await;
    }

    /// After a close: gives the server a silence to notice it, then waits as [`Stage::sync`] does.
    pub async fn settle(&self) {
        self.quiet(QUIET).await;
        self.sync_others(None).await;
    }

    /// Waits until no connection has received anything for `silence`.
    pub async fn quiet(&self, silence: Duration) {
        let mut activity = self.activity.subscribe();
        let limit = Instant::now() + QUIET_LIMIT.max(2 * silence);
        while Instant::now() < limit {
            if timeout(silence, activity.changed()).await.is_err() {
                return;
            }
        }
    }

    /// A user id of this play's own range.
    pub fn uid(&self, number: u32) -> u32 {
        self.base + number
    }

    /// How many connections there are or have been.
    pub fn len(&self) -> usize {
        self.players.len()
    }

    /// Whether nobody has connected.
    pub fn is_empty(&self) -> bool {
        self.players.is_empty()
    }

    /// The processes that serve, if the play may look at them.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.deployment.as_deref()
    }

    /// Notes something that is not in the PDUs.
    pub fn fact(&mut self, key: &str, value: impl Into<Json>) {
        self.facts.insert(key.to_owned(), value.into());
    }

    /// What was observed.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome {
            facts: self.facts.clone(),
            ..Outcome::default()
        };
        for player in &self.players {
            let connection = &player.connection;
            let mut events: Vec<Json> =
                connection.received().iter().map(recording::event).collect();
            let unframed = connection.unframed();
            if !unframed.is_empty() {
                events.push(json!({ "unframed": recording::short_hex(&unframed) }));
            }
            if connection.is_closed() && !player.muted {
                events.push(json!({ "closed": true }));
            }
            outcome.connections.insert(player.name.clone(), events);
        }
        outcome
    }

    async fn connect(&mut self, name: &str, options: Options) -> io::Result<()> {
        let connection = Connection::open(self.address, options, self.activity.clone()).await?;
        self.players.push(Player {
            name: name.to_owned(),
            connection,
            muted: false,
        });
        Ok(())
    }

    async fn sync_others(&self, first: Option<&str>) {
        for player in &self.players {
            if !player.muted && Some(player.name.as_str()) != first {
                player.connection.barrier(BARRIER_LIMIT).await;
            }
        }
        self.quiet(QUIET).await;
    }

    fn player(&self, name: &str) -> &Player {
        self.players
            .iter()
            .find(|player| player.name == name)
            .expect("a play names only connections that it has opened")
    }

    fn player_mut(&mut self, name: &str) -> &mut Player {
        self.players
            .iter_mut()
            .find(|player| player.name == name)
            .expect("a play names only connections that it has opened")
    }
}

impl Index<&str> for Stage {
    type Output = Connection;

    fn index(&self, name: &str) -> &Connection {
        &self.player(name).connection
    }
}

impl IndexMut<&str> for Stage {
    fn index_mut(&mut self, name: &str) -> &mut Connection {
        &mut self.player_mut(name).connection
    }
}

/// CRC-32 as in zlib: the recordings' user ids were derived by it.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
