//! A MsgServer, as far as a check needs one.
//!
//! It holds one user by a *hidden login*: its first list says OFFLINE. So it receives what is for
//! the user, and no notice or event shows the user. It never claims, for a claim would turn all
//! other links from this address into shadows.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use route_dialect::{Class, Command, Dialect, Forwarded, P2pCommand, Report, Status, StatusQuery};
use route_proto::pdu::{HEADER_LEN, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest PDU, bytes. A gateway's own limit is 16 MiB unless set; a peer that sends more is none.
const LONGEST: u32 = 256 << 20;

/// Received PDUs that may wait. When there are more, reading pauses; a check causes a handful.
const WAITING: usize = 64;

/// How long the gateway may take to answer our FIN with its own.
const CLOSING: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug)]
pub(crate) struct MsgServer {
    dialect: Dialect,
    user: u32,
    writer: OwnedWriteHalf,
    arrived: mpsc::Receiver<(Header, Bytes)>,
    reader: JoinHandle<()>,
    sequence: u16,
}

impl MsgServer {
    /// Connects. From then on everything that comes is read, so that no gateway waits for us.
    pub(crate) async fn connect(
        address: &str,
        user: u32,
        dialect: Dialect,
    ) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (reader, writer) = socket.into_split();
        let wanted = [Command::UsersStatusAnswer, Command::P2pCommand].map(|it| dialect.id(it));
        let (arrives, arrived) = mpsc::channel(WAITING);
        Ok(Self {
            dialect,
            user,
            writer,
            arrived,
            reader: tokio::spawn(read(reader, wanted, arrives)),
            sequence: 0,
        })
    }

    /// Reports the user as hidden, on a mobile client: a mobile client gets no notices of others.
    pub(crate) async fn list(&mut self) -> anyhow::Result<()> {
        let mobile = self.dialect.client_type(Class::Mobile);
        let report = Report {
            user_id: self.user,
            client_type: mobile.context("the dialect has no mobile client type")?,
            status: Status::Offline,
        };
        let mut list = Vec::new();
        ensure!(
            self.dialect.write_list(&mut list, &[report]),
            "the dialect has no online_user_list"
        );
        self.send(&list).await
    }

    /// Asks for the status of users; checks that the answer is the one to this question, and says
    /// who is online.
    pub(crate) async fn online(&mut self, users: &[u32], nonce: &str) -> anyhow::Result<Vec<u32>> {
        self.sequence += 1;
        let query = StatusQuery {
            requester: self.user,
            user_ids: users.to_vec(),
            attach_data: nonce.as_bytes(),
        };
        let mut request = Vec::new();
        ensure!(
            self.dialect
                .write_query(&mut request, self.sequence, &query),
            "the dialect has no users_status_query"
        );
        self.send(&request).await?;
        let (header, answer) = self.receive(Command::UsersStatusAnswer).await?;
        let answer = self.dialect.read_status_answer(&answer[HEADER_LEN..]);
        let answer = answer.context("the answer cannot be read")?;
        ensure!(
            header.sequence == self.sequence && answer.attach_data == query.attach_data,
            "the answer is to another question"
        );
        let answered = answer.users.iter().map(|(user, _)| *user);
        ensure!(
            answered.eq(users.iter().copied()),
            "the answer names other users than the question"
        );
        let online = answer.users.iter().filter(|(_, online)| *online);
        Ok(online.map(|(user, _)| *user).collect())
    }

    /// Sends a command from this user to another one, and returns its bytes. MsgServers ignore a
    /// command for users that they do not have.
    pub(crate) async fn command(&mut self, to: u32, text: &str) -> anyhow::Result<Bytes> {
        let body = Forwarded::P2pCommand(P2pCommand {
            from_user_id: self.user,
            to_user_id: to,
            command: text.as_bytes(),
        });
        let mut command = Vec::new();
        ensure!(
            self.dialect.write_forwarded(&mut command, &body),
            "the dialect has no p2p_command: check with --query-only"
        );
        self.send(&command).await?;
        Ok(command.into())
    }

    /// Waits for these bytes. Other commands belong to another check.
    pub(crate) async fn gets(&mut self, wanted: &Bytes) -> anyhow::Result<()> {
        while self.receive(Command::P2pCommand).await?.1 != wanted {}
        Ok(())
    }

    /// Ends the connection, and waits until the gateway has.
    pub(crate) async fn close(mut self) {
        if self.writer.shutdown().await.is_ok() {
            // If the gateway does not close, the end of this process does.
            let _ = tokio::time::timeout(CLOSING, &mut self.reader).await;
        }
    }

    async fn send(&mut self, pdu: &[u8]) -> anyhow::Result<()> {
        let sent = self.writer.write_all(pdu).await;
        sent.context("the gateway has closed the connection")
    }

    async fn receive(&mut self, command: Command) -> anyhow::Result<(Header, Bytes)> {
        let id = self.dialect.id(command);
        while let Some((header, pdu)) = self.arrived.recv().await {
            if Some(header.command) == id {
                return Ok((header, pdu));
            }
        }
        bail!("the gateway has closed the connection")
    }
}

/// Reads to the end, and hands on what may be for a check.
async fn read(
    mut socket: OwnedReadHalf,
    wanted: [Option<u16>; 2],
    arrives: mpsc::Sender<(Header, Bytes)>,
) {
    let mut head = [0; HEADER_LEN];
    while socket.read_exact(&mut head).await.is_ok() {
        let header = Header::read(&head);
        let Some(rest) = header.length.checked_sub(HEADER_LEN as u32) else {
            return;
        };
        if header.length > LONGEST {
            return;
        }
        let mut pdu = head.to_vec();
        // Memory is not reserved before the bytes are there.
        let mut body = (&mut socket).take(u64::from(rest));
        if !matches!(body.read_to_end(&mut pdu).await, Ok(read) if read as u64 == u64::from(rest)) {
            return;
        }
        if wanted.contains(&Some(header.command)) {
            // Fails when nobody waits any more; reading goes on all the same.
            let _ = arrives.send((header, pdu.into())).await;
        }
    }
}
