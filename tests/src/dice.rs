//! The one source of chance: everything that a schedule decides comes from here.

use std::ops::Range;
use std::time::Duration;

/// xorshift64*: reproducible, and nothing else is asked of it.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same dice.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % sides.max(1)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// Milliseconds of this range.
    pub fn millis(&mut self, range: Range<usize>) -> Duration {
        let millis = range.start + self.roll(range.len());
        Duration::from_millis(millis as u64)
    }

    /// 0 up to 1.
    pub fn share(&mut self) -> f64 {
        self.roll(1 << 20) as f64 / f64::from(1 << 20)
    }

    /// Brings them into another order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for place in (1..things.len()).rev() {
            things.swap(place, self.roll(place + 1));
        }
    }

    /// Other dice, for somebody who throws them in his own time.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.roll(1 << 30) as u64)
    }
}
