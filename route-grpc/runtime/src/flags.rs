//! Values of flags: times, sizes, counts. None may be 0 unless 0 means something: a limit of 0 is a
//! mistake that shows only when nothing works.

use std::net::Ipv6Addr;
use std::time::Duration;

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

const SIZES: [(&str, u64); 4] = [
    ("", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads a time: a whole number and `ms`, `s`, `m` or `h`; more than 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    duration_or_zero(text).and_then(|time| match time {
        Duration::ZERO => Err("a time of 0 makes no sense here".to_owned()),
        time => Ok(time),
    })
}

/// Reads a time that may be 0.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    quantity(text, &TIMES)
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a whole number and ms, s, m or h, such as 10s".to_owned())
}

/// Reads a size: a whole number, and `KiB`, `MiB` or `GiB`, or nothing for bytes; more than 0, and
/// what fits into `T`.
pub fn bytes<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    if quantity(text, &SIZES) == Some(0) {
        return Err("a size of 0 makes no sense here".to_owned());
    }
    bytes_or_zero(text)
}

/// Reads a size that may be 0.
pub fn bytes_or_zero<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let bytes = quantity(text, &SIZES).ok_or_else(|| {
        "a size is a whole number and KiB, MiB, GiB or nothing, such as 64MiB".to_owned()
    })?;
    T::try_from(bytes).map_err(|_| {
        let most = (1_u128 << (8 * size_of::<T>())) - 1;
        format!("at most {most} bytes")
    })
}

/// Reads a node's address, `host:port` or a URL. An IPv6 address stands in brackets. Whether an address without a scheme is
/// connected to by TLS is said elsewhere: [`ClientTls::url`](crate::tls::client::ClientTls::url).
pub fn node_address(text: &str) -> Result<String, &'static str> {
    let is_one = match text.split_once("://") {
        Some(("http" | "https", rest)) => !rest.is_empty(),
        None => is_host_and_port(text),
        Some(_) => false,
    };
    match is_one {
        true => Ok(text.to_owned()),
        false => {
            Err("write host:port, http://host:port or https://host:port, of IPv6 [address]:port")
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_one = match host.strip_prefix('[') {
        Some(host) => host
            .strip_suffix(']')
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', '@', ' ']),
    };
    host_is_one && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A name in any spelling, `kick-user`, `kick_user`, `KickUser`, `KICK_USER`, as `kick_user`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    // A word may end here.
    let mut may_end = false;
    for character in name.chars() {
        if character.is_uppercase() && may_end {
            snake.push('_');
        }
        may_end = character.is_lowercase();
        match character {
            '-' => snake.push('_'),
            other => snake.extend(other.to_lowercase()),
        }
    }
    snake
}

/// Reads a number of at least 1.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number is needed".to_owned()),
    }
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_several_spellings() {
        for name in [
            "kick-user",
            "kick_user",
            "KickUser",
            "kickUser",
            "KICK_USER",
            "Kick-User",
        ] {
            assert_eq!(snake_case(name), "kick_user", "{name}");
        }
        for name in ["P2pCommand", "P2P_COMMAND", "p2p-command"] {
            assert_eq!(snake_case(name), "p2p_command", "{name}");
        }
        assert_eq!(snake_case("message"), "message");
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(bytes("64MiB"), Ok(64_usize << 20));
        assert_eq!(bytes("1000"), Ok(1000_u32));
        for bad in ["", "10", "s", "-1s", "1.5s", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "MiB", "1MB", "99999999999GiB", "4GiB"] {
            assert!(bytes::<u32>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_is_at_a_host_and_a_port() {
        for right in [
            "node:50051",
            "127.0.0.1:1",
            "[::1]:50051",
            "http://node",
            "https://node:50051",
        ] {
            assert_eq!(node_address(right), Ok(right.to_owned()));
        }
        for wrong in [
            "",
            "node",
            ":50051",
            "node:",
            "node:0",
            "node:65536",
            "node:x",
            "::1:50051",
            "[::1]",
            "[node]:1",
            "node:1/",
            "http://",
            "https://",
            "ftp://node:1",
        ] {
            let said = node_address(wrong).unwrap_err();
            assert!(said.contains("host:port"), "{wrong}: {said}");
        }
    }

    #[test]
    fn zero_is_refused_unless_it_means_something() {
        assert!(duration("0s").is_err());
        assert!(bytes::<u32>("0MiB").is_err());
        assert_eq!(count("0"), Err("must be at least 1".to_owned()));
        assert_eq!(count("1"), Ok(1));
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        assert_eq!(bytes_or_zero("0"), Ok(0_u32));
    }
}
