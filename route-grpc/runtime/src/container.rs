//! What the container gives to this process.

use std::fs;

/// Where the kernel says how much memory the container may use: version 2 of control groups, and 1.
const FILES: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// More than any machine has: version 1 says so where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// How much memory the container may use, bytes; `None`: as much as there is.
pub fn memory_limit() -> Option<u64> {
    let mut texts = FILES
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts.find_map(|text| read(&text))
}

fn read(text: &str) -> Option<u64> {
    let limit = text.trim().parse().ok();
    limit.filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_that_a_machine_may_have() {
        assert_eq!(read("2147483648\n"), Some(2 << 30));
        assert_eq!(read("max\n"), None);
        assert_eq!(read("9223372036854771712\n"), None);
        assert_eq!(read(""), None);
    }
}
