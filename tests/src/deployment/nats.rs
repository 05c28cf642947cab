//! NATS servers with JetStream, one or three, as `tests/clients/install` has put the program into `.cache`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::process::{Process, Surroundings};
use super::{ports, probes};

/// Where `tests/clients/install` puts it.
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../.cache/venv/bin/nats-server"
);
/// How long servers may take to get ready; a cluster elects meanwhile.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often one is asked: there is no event to wait for outside it.
const READY_POLL: Duration = Duration::from_millis(20);

/// One server. What it stores is gone with this handle.
#[derive(Debug)]
pub struct NatsServer {
    /// Its name, `n0` for the first.
    pub name: String,
    /// Where it listens for clients.
    pub address: SocketAddr,
    /// The process; may have ended.
    pub process: Process,
    monitor: SocketAddr,
    folder: PathBuf,
}

/// A cluster of three.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers.
    pub servers: Vec<NatsServer>,
}

impl NatsServer {
    /// One that everybody may use.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub async fn start() -> Result<Self, String> {
        Self::start_with("").await
    }

    /// One with these lines in its configuration, too.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub async fn start_with(lines: &str) -> Result<Self, String> {
        let [address, monitor] = ports::free()?;
        let server = Self::launch("n0", address, monitor, lines)?;
        server.is_ready().await?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// What it answers on this subject; `headers` in lines of their own, or empty.
    ///
    /// # Errors
    /// What the socket says, or that there was no answer in time.
    pub async fn ask(&self, subject: &str, headers: &str, payload: &str) -> io::Result<String> {
        timeout(ANSWER_LIMIT, self.asked(subject, headers, payload)).await?
    }

    async fn asked(&self, subject: &str, headers: &str, payload: &str) -> io::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await?);
        let asked = if headers.is_empty() {
            format!("PUB {subject} answer {}\r\n{payload}", payload.len())
        } else {
            let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
            let (of_them, of_all) = (headers.len(), headers.len() + payload.len());
            format!("HPUB {subject} answer {of_them} {of_all}\r\n{headers}{payload}")
        };
        let all = format!("CONNECT {{\"headers\":true}}\r\nSUB answer 1\r\n{asked}\r\n");
        stream.write_all(all.as_bytes()).await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 || line.starts_with("-ERR") {
                return Err(io::Error::other(format!("NATS ended it: {line:?}")));
            }
            if let Some(message) = line.strip_prefix("MSG ") {
                let length = message.split_whitespace().last();
                let length = length.and_then(|it| it.parse().ok()).unwrap_or_default();
                let mut payload = vec![0; length];
                stream.read_exact(&mut payload).await?;
                return Ok(String::from_utf8_lossy(&payload).into_owned());
            }
        }
    }

    /// Starts it again, with what it has stored.
    ///
    /// # Errors
    /// A sentence that says why it does not start.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.process.kill();
        self.process = run(&self.folder)?;
        self.is_ready().await
    }

    fn launch(
        name: &str,
        address: SocketAddr,
        monitor: SocketAddr,
        lines: &str,
    ) -> Result<Self, String> {
        /// Folders of this process.
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nats-{}-{number}", std::process::id()));
        let store = folder.join("store");
        let configuration = format!(
            "server_name: {name}\nlisten: \"{address}\"\nhttp: \"{monitor}\"\n\
             jetstream {{ store_dir: {store:?}, max_mem: 16MB, max_file: 64MB }}\n{lines}\n"
        );
        let told = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(told)?;
        fs::write(folder.join("nats.conf"), configuration).map_err(told)?;
        Ok(Self {
            name: name.to_owned(),
            address,
            process: run(&folder)?,
            monitor,
            folder,
        })
    }

    async fn is_ready(&self) -> Result<(), String> {
        let limit = Instant::now() + READY_LIMIT;
        while !matches!(probes::get(self.monitor, "/healthz").await, Ok((200, _))) {
            if !self.process.is_alive() || Instant::now() > limit {
                return Err(format!("NATS does not get ready:\n{}", self.process));
            }
            sleep(READY_POLL).await;
        }
        Ok(())
    }

    /// Who leads this stream, by its own view.
    async fn stream_leader(&self, stream: &str) -> Option<String> {
        let page = "/jsz?accounts=true&streams=true";
        let (_, text) = probes::get(self.monitor, page).await.ok()?;
        let seen: Value = serde_json::from_str(&text).ok()?;
        let accounts = seen["account_details"].as_array()?;
        let mut streams = accounts
            .iter()
            .filter_map(|account| account["stream_detail"].as_array())
            .flatten();
        let stream = streams.find(|it| it["name"] == stream)?;
        Some(stream["cluster"]["leader"].as_str()?.to_owned())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.process.kill();
        // A folder that stays is of a test that is over.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl NatsCluster {
    /// Three servers.
    ///
    /// # Errors
    /// A sentence that says why there are none.
    pub async fn start() -> Result<Self, String> {
        let clients: [_; 3] = ports::free()?;
        let monitors: [_; 3] = ports::free()?;
        let routes: [_; 3] = ports::free()?;
        let all: Vec<_> = routes.iter().map(|it| format!("nats://{it}")).collect();
        let mut servers = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let lines = format!("cluster {{ name: test, listen: \"{route}\", routes: {all:?} }}\n");
            let (client, monitor) = (clients[number], monitors[number]);
            let name = format!("n{number}");
            servers.push(NatsServer::launch(&name, client, monitor, &lines)?);
        }
        for server in &servers {
            server.is_ready().await?;
        }
        Ok(Self { servers })
    }

    /// One server alone.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub async fn of_one() -> Result<Self, String> {
        let servers = vec![NatsServer::start().await?];
        Ok(Self { servers })
    }

    /// Ends all as crashes do.
    pub fn kill(&self) {
        self.servers.iter().for_each(|server| server.process.kill());
    }

    /// Starts all again, with what they have stored.
    ///
    /// # Errors
    /// A sentence that says why they do not start.
    pub async fn restart(&mut self) -> Result<(), String> {
        for server in &mut self.servers {
            server.process.kill();
            server.process = run(&server.folder)?;
        }
        for server in &self.servers {
            server.is_ready().await?;
        }
        Ok(())
    }

    /// The URLs of all.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server that leads this stream, by what one says that runs; `None`: nobody does, or it is not there.
    pub async fn stream_leader(&mut self, stream: &str) -> Option<&mut NatsServer> {
        for number in 0..self.servers.len() {
            let leader = self.servers[number].stream_leader(stream).await;
            if let Some(name) = leader {
                return self.servers.iter_mut().find(|server| server.name == name);
            }
        }
        None
    }
}

fn run(folder: &Path) -> Result<Process, String> {
    let program = Path::new(PROGRAM);
    if !program.is_file() {
        return Err(format!(
            "{PROGRAM} does not exist: run `tests/clients/install`"
        ));
    }
    let configuration = folder.join("nats.conf").display().to_string();
    let arguments = ["--config".to_owned(), configuration];
    Process::start_program(&Surroundings::default(), program, &arguments)
}
