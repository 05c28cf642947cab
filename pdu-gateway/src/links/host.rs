//! Whether the host at the other end of a connection is still there.
//!
//! A MsgServer's host that has vanished is to be noticed within `--host-timeout`; one that is there, while its MsgServer does
//! not read, has the whole write time limit. TCP_USER_TIMEOUT cannot tell them apart: Linux counts the time for which the window
//! stays closed, though each of its probes is acknowledged. So the kernel is asked for what it knows (TCP_INFO): a host
//! that is there acknowledges what it is sent, and answers probes of its window.
//!
//! While the window is closed the kernel asks at growing intervals, so a host that vanishes then is noticed when it has
//! left a probe without an answer; within a write time limit of 30 s, these are at most 13 s apart.

use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};
use tokio::net::TcpStream;

/// Below, a network that loses a few packets in a row would count as a host that has vanished.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_secs(6);

/// How long before its time a host's silence is an answer: a look comes up to a second later, and takes two.
const IN_TIME: Duration = Duration::from_secs(2);

/// A connection on which nothing came for so long is looked at once a second.
pub fn look_after(timeout: Duration) -> Duration {
    timeout.saturating_sub(2 * IN_TIME)
}

sockopt_impl!(
    /// What the kernel knows of a connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Info
);

/// The beginning of Linux' `struct tcp_info`, as it is since 4.6. Times are in milliseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Info {
    state: [u8; 3],
    /// Probes of a closed window, or of a silent host, that were not answered.
    probes: u8,
    options: [u8; 4],
    sizes: [u32; 4],
    /// Segments that were sent and not acknowledged.
    unacknowledged: u32,
    counts: [u32; 4],
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_received: u32,
    last_ack_received: u32,
    path: [u32; 11],
    rates: [u64; 4],
    segments: [u32; 2],
    /// Bytes that were written and not sent yet.
    unsent: u32,
    min_rtt: u32,
}

/// Follows one connection's host.
#[derive(Debug)]
pub struct Host {
    vanished_after: Duration,
    owed: bool,
}

impl Host {
    /// One that has vanished when it owes us an answer for about so long.
    pub fn new(timeout: Duration) -> Self {
        Host {
            vanished_after: timeout.saturating_sub(IN_TIME),
            owed: false,
        }
    }

    /// Looks. True if the host has vanished; false also if the kernel does not tell.
    pub fn has_vanished(&mut self, stream: &TcpStream) -> bool {
        getsockopt(stream, TcpInfo).is_ok_and(|info| self.judge(&info))
    }

    /// The host has acknowledged everything that was written; true also if the kernel does not tell.
    pub fn has_everything(stream: &TcpStream) -> bool {
        let owes = |info: Info| info.unacknowledged > 0 || info.unsent > 0;
        !getsockopt(stream, TcpInfo).is_ok_and(owes)
    }

    /// What was sent a moment ago may still be on its way, so an answer has to be owed twice in a row.
    fn judge(&mut self, info: &Info) -> bool {
        let owes = info.unacknowledged > 0 || info.probes > 0;
        let owed = std::mem::replace(&mut self.owed, owes);
        let silent = info.last_data_received.min(info.last_ack_received);
        owes && owed && Duration::from_millis(silent.into()) >= self.vanished_after
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    #[test]
    fn a_host_that_owes_an_answer_and_says_nothing_has_vanished() {
        for (what, info) in [
            ("data", silent(13_000, 1, 0)),
            ("a probe", silent(13_000, 0, 1)),
        ] {
            let mut host = Host::new(TIMEOUT);

            assert!(!host.judge(&info), "{what} may be on its way");
            assert!(host.judge(&info), "{what} is not answered");
        }
    }

    #[test]
    fn a_host_that_answers_or_owes_nothing_is_there() {
        for (what, info) in [
            ("it is asked seldom", silent(40_000, 0, 0)),
            ("it has just answered", silent(100, 3, 0)),
            ("it has a moment left", silent(12_999, 3, 1)),
        ] {
            let mut host = Host::new(TIMEOUT);

            assert!(!host.judge(&info) && !host.judge(&info), "{what}");
        }
    }

    #[test]
    fn it_is_looked_at_early_enough_for_two_looks_in_time() {
        for timeout in [SHORTEST_TIMEOUT, TIMEOUT] {
            let mut host = Host::new(timeout);
            let vanished = u32::try_from((timeout - Duration::from_secs(2)).as_millis()).unwrap();

            assert!(look_after(timeout) < host.vanished_after);
            assert!(
                !host.judge(&silent(vanished - 1, 1, 0))
                    && !host.judge(&silent(vanished - 1, 1, 0))
            );
            assert!(host.judge(&silent(vanished, 1, 0)));
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_other_ends_buffer_is_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let _other = listener.accept().await.unwrap();

        let written = || stream.try_write(&[0; 64 << 10]).is_ok();
        while written() {}

        assert!(!Host::has_everything(&stream));
    }

    #[tokio::test]
    async fn the_kernel_tells() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();

        let info = getsockopt(&stream, TcpInfo).unwrap();

        const ESTABLISHED: u8 = 1;
        assert_eq!(info.state[0], ESTABLISHED);
        assert!(info.last_ack_received < 10_000, "{info:?}");
        assert!(Host::has_everything(&stream));
    }

    fn silent(millis: u32, unacknowledged: u32, probes: u8) -> Info {
        Info {
            probes,
            unacknowledged,
            last_data_received: millis + 7000,
            last_ack_received: millis,
            ..Info::default()
        }
    }
}
