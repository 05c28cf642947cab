//! A thread that writes log lines, so that nobody else waits for the output.
//!
//! Lines gather in one buffer of bounded size, and the thread takes all of them at once. If the
//! buffer is full (the reader of a pipe is asleep), or the output fails (the reader is gone), lines
//! are lost and counted; a task that logs never notices.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Pause when the output is a full pipe that somebody has made non-blocking.
const FULL_OUTPUT_PAUSE: Duration = Duration::from_millis(10);

/// Lines on their way to an output.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// Most bytes that may wait.
    capacity: usize,
    backlog: Mutex<Backlog>,
    /// Something waits.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
    lost_lines: AtomicU64,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    lines: u64,
    /// The thread has taken lines that it has not written yet.
    writing: bool,
}

impl LogWriter {
    /// Starts the thread; it lives as long as the process.
    pub(super) fn spawn(
        output: impl Write + Send + 'static,
        capacity: usize,
    ) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Self {
            capacity,
            backlog: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            lost_lines: AtomicU64::new(0),
        });
        let worker = Arc::clone(&writer);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || worker.run(output))?;
        Ok(writer)
    }

    /// Waits until all lines are written, at most for `within`: then false.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut backlog = self.backlog.lock();
        while backlog.writing || backlog.lines > 0 {
            if self.emptied.wait_until(&mut backlog, until).timed_out() {
                return false;
            }
        }
        true
    }

    pub(super) fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Ordering::Relaxed)
    }

    fn push(&self, line: &[u8]) {
        let mut backlog = self.backlog.lock();
        if backlog.bytes.len() + line.len() > self.capacity {
            self.lost_lines.fetch_add(1, Ordering::Relaxed);
            return;
        }
        backlog.bytes.extend_from_slice(line);
        backlog.lines += 1;
        self.filled.notify_one();
    }

    fn run(&self, mut output: impl Write) {
        let mut taken = Vec::new();
        loop {
            let lines = self.take(&mut taken);
            if write_all(&mut output, &taken).is_err() {
                self.lost_lines.fetch_add(lines, Ordering::Relaxed);
            }
            taken.clear();
        }
    }

    /// Waits for lines and swaps them into the empty `taken`. Returns how many they are.
    fn take(&self, taken: &mut Vec<u8>) -> u64 {
        let mut backlog = self.backlog.lock();
        backlog.writing = false;
        while backlog.lines == 0 {
            self.emptied.notify_all();
            self.filled.wait(&mut backlog);
        }
        backlog.writing = true;
        std::mem::swap(&mut backlog.bytes, taken);
        std::mem::take(&mut backlog.lines)
    }
}

/// The writer of `tracing`. Its formatter hands over each event in a single write.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`Write::write_all`], but waits for a non-blocking output as for a blocking one.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(FULL_OUTPUT_PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn lines_are_written_in_order() {
        let (output, written, _) = gated_output(true);
        let writer = LogWriter::spawn(output, 100).unwrap();

        log(&writer, "one\n");
        log(&writer, "two\n");

        assert!(writer.flush(LONG));
        assert_eq!(
            written.try_iter().flatten().collect::<Vec<u8>>(),
            b"one\ntwo\n"
        );
        assert_eq!(writer.lost_lines(), 0);
    }

    #[test]
    fn a_full_output_loses_lines_but_stops_nobody() {
        let (output, written, gate) = gated_output(false);
        let writer = LogWriter::spawn(output, 8).unwrap();
        log(&writer, "taken\n");
        while !writer.backlog.lock().writing {
            thread::yield_now();
        }

        log(&writer, "waits\n");
        log(&writer, "lost\n");

        assert_eq!(writer.lost_lines(), 1);
        assert!(!writer.flush(Duration::ZERO));
        drop(gate);
        assert!(writer.flush(LONG));
        assert_eq!(
            written.try_iter().flatten().collect::<Vec<u8>>(),
            b"taken\nwaits\n"
        );
    }

    #[test]
    fn a_closed_output_is_counted_and_tried_again() {
        let (output, written, _) = gated_output(true);
        drop(written);
        let writer = LogWriter::spawn(output, 100).unwrap();

        log(&writer, "lost\n");
        let flushed = writer.flush(LONG);
        log(&writer, "lost too\n");

        assert!(flushed && writer.flush(LONG));
        assert_eq!(writer.lost_lines(), 2);
    }

    #[test]
    fn a_non_blocking_output_is_waited_for() {
        struct Reluctant(bool);
        impl Write for Reluctant {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = !self.0;
                if self.0 {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(bytes.len().min(2))
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let written = write_all(&mut Reluctant(false), b"line\n");

        assert!(written.is_ok());
    }

    fn log(mut writer: &LogWriter, line: &str) {
        writer.write_all(line.as_bytes()).unwrap();
    }

    /// An output that blocks until its gate is dropped, hands over what it gets, and fails when
    /// nobody takes it.
    struct Output {
        gate: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    fn gated_output(open: bool) -> (Output, Receiver<Vec<u8>>, Option<Sender<()>>) {
        let (opener, gate) = channel();
        let (written, received) = channel();
        (
            Output { gate, written },
            received,
            (!open).then_some(opener),
        )
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            while self.gate.recv().is_ok() {}
            self.written
                .send(bytes.to_vec())
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
