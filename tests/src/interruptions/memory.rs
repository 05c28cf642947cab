//! How much memory the site's processes take while all goes on.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// One process's resident memory, in bytes, over time.
#[derive(Debug, Clone)]
pub struct Level {
    /// Whose.
    pub name: String,
    /// The most in each part of the time, in order.
    pub peaks: Vec<u64>,
    part: Duration,
    began: Instant,
}

impl Level {
    /// Of this process, in parts of this length.
    pub(super) fn new(name: &str, part: Duration) -> Self {
        Self {
            name: name.to_owned(),
            peaks: Vec::new(),
            part,
            began: Instant::now(),
        }
    }

    /// It takes so much now.
    pub(super) fn is(&mut self, resident: u64) {
        let part = (self.began.elapsed().as_secs_f64() / self.part.as_secs_f64()) as usize;
        self.peaks.resize(self.peaks.len().max(part + 1), 0);
        self.peaks[part] = self.peaks[part].max(resident);
    }
}

/// A line: peaks in MiB, part by part.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}MiB, most in each {:?}:", self.name, self.part)?;
        self.peaks
            .iter()
            .try_for_each(|peak| write!(f, " {}", peak >> 20))
    }
}
