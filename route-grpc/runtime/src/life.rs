//! What names one life of a process: a gateway's incarnation, a node's epoch; and what shows that
//! somebody is that life.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};

/// Bits of a name that chance fills.
const RANDOM_BITS: u32 = 20;

/// Start time in Unix milliseconds (upper 44 bits) and a random part (lower 20 bits), so ordered and,
/// in practice, unique. Never 0.
pub fn new_life() -> u64 {
    let millis = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX >> RANDOM_BITS);
    (millis << RANDOM_BITS | fastrand::u64(0..1 << RANDOM_BITS)).max(1)
}

/// What nobody can guess, from the kernel.
pub fn new_secret() -> [u8; 16] {
    let mut secret = [0; 16];
    // So few bytes come at once, and whole.
    let filled = getrandom(&mut secret, GetRandomFlags::empty());
    assert_eq!(filled, Ok(secret.len()), "the kernel gives random bytes");
    secret
}

/// Time since the machine started. It goes on while the machine is suspended.
pub fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The name of this host, for ids and descriptions.
pub fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let printable = name.chars().filter(char::is_ascii_graphic).take(64);
    printable.collect()
}

/// The calendar time, for names and for people. A clock before 1970 is as good as 1970.
pub fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        assert_ne!(new_secret(), new_secret());
    }

    #[test]
    fn a_later_life_is_greater() {
        let now = u64::try_from(unix_time().as_millis()).expect("this century");

        assert!(new_life() >> RANDOM_BITS >= now);
        assert_ne!(new_life(), 0);
    }
}
