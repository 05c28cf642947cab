//! What a node says in its log, of one test: each has a thread of its own.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Until it is dropped.
pub(super) struct Log {
    said: Said,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

/// While there is one subscriber alone, tracing asks the thread that comes to a line first whether anybody wants it, which may
/// be that of a test without a log, and remembers the answer for all. This one is the second.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

impl Log {
    pub(super) fn listen() -> Self {
        LazyLock::force(&SECOND);
        let said = Said::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::INFO)
            .with_writer(said.clone());
        Self {
            said,
            _guard: subscriber.set_default(),
        }
    }

    /// Whether there is a line with all of these.
    pub(super) fn has(&self, parts: &[&str]) -> bool {
        let all = self.all();
        let mut lines = all.lines();
        lines.any(|line| parts.iter().all(|part| line.contains(part)))
    }

    pub(super) fn all(&self) -> String {
        String::from_utf8(self.said.0.lock().clone()).unwrap()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
