//! A thread that writes log lines, so that nobody else waits for the output.
//!
//! If too much waits (the reader of a pipe is asleep), or the output fails (the reader is gone),
//! lines are lost and counted; a task that logs never notices.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Pause when the output is a full pipe that somebody has made non-blocking, and until a flush looks
/// again.
const PAUSE: Duration = Duration::from_millis(5);

/// Lines on their way to an output.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// Most bytes that may wait.
    capacity: usize,
    lines: Sender<Vec<u8>>,
    /// Bytes that are not written yet.
    waiting: AtomicUsize,
    lost_lines: AtomicU64,
}

impl LogWriter {
    /// Starts the thread; it lives as long as the process.
    pub(super) fn spawn(
        output: impl Write + Send + 'static,
        capacity: usize,
    ) -> io::Result<Arc<Self>> {
        let (sender, lines) = channel();
        let writer = Arc::new(Self {
            capacity,
            lines: sender,
            waiting: AtomicUsize::new(0),
            lost_lines: AtomicU64::new(0),
        });
        let worker = Arc::clone(&writer);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || worker.run(&lines, output))?;
        Ok(writer)
    }

    /// Waits until all lines are written, at most for `within`: then false.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let start = Instant::now();
        while self.waiting.load(Ordering::Acquire) > 0 {
            if start.elapsed() >= within {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }

    pub(super) fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Ordering::Relaxed)
    }

    fn run(&self, lines: &Receiver<Vec<u8>>, mut output: impl Write) {
        for line in lines {
            if write_all(&mut output, &line).is_err() {
                self.lost_lines.fetch_add(1, Ordering::Relaxed);
            }
            self.waiting.fetch_sub(line.len(), Ordering::Release);
        }
    }
}

/// The writer of `tracing`. Its formatter hands over each event in a single write.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        if before + line.len() > self.capacity || self.lines.send(line.to_vec()).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost_lines.fetch_add(1, Ordering::Relaxed);
        }
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
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        let writer = LogWriter::spawn(output, 12).unwrap();

        log(&writer, "taken\n");
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
