//! One server process: found beside the test's own executable, killed with its handle, its output
//! kept.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// Names the folder of the binaries, where they are not beside the tests.
const FOLDER_VARIABLE: &str = "TEST_BIN_DIR";
/// Lines kept of a process; older ones are forgotten.
const LINES: usize = 400;
/// How often an ending process is asked whether it has ended: tokio would have to own the child to
/// tell.
const END_POLL: Duration = Duration::from_millis(5);

/// All threads of a process stop in less.
const STOPS: Duration = Duration::from_secs(1);

/// The settings of whoever runs the tests are not part of them.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars() {
        if name.starts_with("TT_") || name.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
}

/// What a server finds around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// More environment variables.
    pub variables: Vec<(&'static str, String)>,
    /// Who reads its standard output.
    pub stdout: Reader,
    /// Hears each line that the test keeps, at once.
    pub listener: Listener,
}

/// Hears what a process says.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

type Hear = dyn Fn(&str) + Send + Sync;

impl Listener {
    /// One that does this.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hears = self.0.is_some();
        f.debug_tuple("Listener").field(&hears).finish()
    }
}

impl Surroundings {
    /// With these environment variables.
    pub fn with(variables: Vec<(&'static str, String)>) -> Self {
        Self {
            variables,
            ..Self::default()
        }
    }
}

/// Who reads standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reader {
    /// The test keeps the last lines.
    #[default]
    Test,
    /// The reader is asleep: the pipe fills.
    Asleep,
    /// The reader is gone: writing fails.
    Gone,
}

/// A running (or ended) server. Dropping it kills it; if the test panics, what it printed is
/// printed.
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    lines: Arc<Mutex<VecDeque<String>>>,
    _unread: Option<ChildStdout>,
}

impl Process {
    /// Starts one of the workspace's binaries.
    ///
    /// # Errors
    /// A sentence that says what to build, if there is no such binary.
    pub fn start(binary: &str, arguments: &[String]) -> Result<Self, String> {
        Self::start_in(&Surroundings::default(), binary, arguments)
    }

    /// The same in surroundings of its own.
    ///
    /// # Errors
    /// A sentence that says what to build, if there is no such binary.
    pub fn start_in(
        surroundings: &Surroundings,
        binary: &str,
        arguments: &[String],
    ) -> Result<Self, String> {
        Self::start_program(surroundings, &self::binary(binary)?, arguments)
    }

    /// Starts a program that is none of the workspace's.
    ///
    /// # Errors
    /// A sentence that says why it does not start.
    pub fn start_program(
        surroundings: &Surroundings,
        path: &Path,
        arguments: &[String],
    ) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.args(arguments);
        forget_settings(&mut command);
        for (name, value) in &surroundings.variables {
            command.env(name, value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", path.display()))?;
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let mut unread = child.stdout.take();
        match surroundings.stdout {
            Reader::Test => {
                if let Some(output) = unread.take() {
                    keep_lines(output, Arc::clone(&lines), surroundings.listener.clone());
                }
            }
            Reader::Asleep => {}
            Reader::Gone => unread = None,
        }
        if let Some(output) = child.stderr.take() {
            keep_lines(output, Arc::clone(&lines), Listener::default());
        }
        Ok(Self {
            name: path.display().to_string(),
            pid: child.id(),
            child: Mutex::new(child),
            lines,
            _unread: unread,
        })
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().ok().flatten()
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&self) {
        let mut child = self.child.lock();
        // Both fail only for a process that has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to read its settings again, by SIGHUP, as some programs do.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// It does not run, as on a machine that is stopped, until it is [resumed](Self::resume).
    pub fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        // Its threads stop one by one, a moment later.
        let began = std::time::Instant::now();
        while self.is_alive() && !self.stands_still() && began.elapsed() < STOPS {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// All of its threads are stopped.
    fn stands_still(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        tasks.is_ok_and(|tasks| {
            tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit(") ").next().unwrap_or_default();
                // One that has ended in between says nothing.
                state.is_empty() || state.starts_with('T')
            })
        })
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // Fails only for a process that has ended.
            let _ = signal::kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// How it ended; `None` if it still runs after `limit`.
    pub async fn ended(&self, limit: Duration) -> Option<ExitStatus> {
        let limit = Instant::now() + limit;
        loop {
            let status = self.exit_status();
            if status.is_some() || Instant::now() > limit {
                return status;
            }
            sleep(END_POLL).await;
        }
    }

    /// Whether a line of its output contains `text`.
    pub fn has_said(&self, text: &str) -> bool {
        self.lines.lock().iter().any(|line| line.contains(text))
    }

    /// Waits until a line of its output contains `text`; false after `limit`.
    pub async fn says(&self, text: &str, limit: Duration) -> bool {
        let said = async {
            while !self.has_said(text) {
                // Its output is another thread's.
                tokio::task::yield_now().await;
            }
        };
        timeout(limit, said).await.is_ok()
    }

    /// Its resident set in bytes; 0 once it has ended.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid)
    }

    /// The most that its resident set ever was, in bytes; 0 once it has ended.
    pub fn peak_bytes(&self) -> u64 {
        status_bytes(self.pid, "VmHWM:")
    }
}

impl Drop for Process {
    #[allow(
        clippy::print_stderr,
        reason = "a failed test shows what its servers said"
    )]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self}");
        }
        self.kill();
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self
            .exit_status()
            .map_or_else(|| "running".to_owned(), |status| format!("ended, {status}"));
        writeln!(f, "--- {} ({state}), last lines:", self.name)?;
        for line in self.lines.lock().iter() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Resident memory of a process in bytes; 0 if it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let kib = lines
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Where one of the workspace's binaries is: `target/<profile>/<binary>`, where this executable is
/// `target/<profile>/deps/<test>` or beside it.
///
/// # Errors
/// A sentence that says what to build, if it is not there.
pub fn binary(binary: &str) -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return existing(&PathBuf::from(folder).join(binary), binary);
    }
    let own = std::env::current_exe().map_err(|error| format!("no path of this test: {error}"))?;
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .unwrap_or_else(|| Path::new("."));
    existing(&folder.join(binary), binary)
}

fn existing(path: &Path, binary: &str) -> Result<PathBuf, String> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Err(format!(
        "{} does not exist: run `cargo build -p {binary}` with the profile of the tests, or set {FOLDER_VARIABLE}",
        path.display()
    ))
}

fn keep_lines(
    output: impl Read + Send + 'static,
    lines: Arc<Mutex<VecDeque<String>>>,
    listener: Listener,
) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(hear) = &listener.0 {
                hear(&line);
            }
            let mut lines = lines.lock();
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}
