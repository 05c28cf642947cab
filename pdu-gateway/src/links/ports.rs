//! How many of the ports are listened on: a gateway is ready when MsgServers can connect.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Somebody else has a port that is not listened on after this.
const LIMIT: Duration = Duration::from_secs(1);

/// The ports of a gateway that are not listened on.
#[derive(Debug, Default)]
pub struct Ports {
    closed: watch::Sender<usize>,
}

impl Ports {
    /// There is another port, or one is not listened on any more.
    pub(super) fn is_closed(&self) {
        self.closed.send_modify(|closed| *closed += 1);
    }

    /// A port is listened on from now on.
    pub(super) fn is_open(&self) {
        self.closed.send_modify(|closed| *closed -= 1);
    }

    /// The doors have been opened: waits until all ports are listened on, but not for those that
    /// somebody else has.
    pub async fn all_open(&self) {
        let mut closed = self.closed.subscribe();
        let _ = timeout(LIMIT, closed.wait_for(|closed| *closed == 0)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_ports_are_waited_for_but_not_for_ever() {
        let ports = Ports::default();
        let begin = tokio::time::Instant::now();
        ports.all_open().await;
        ports.is_closed();
        ports.is_closed();
        ports.is_open();
        let open = async {
            tokio::time::sleep(LIMIT / 2).await;
            ports.is_open();
        };
        tokio::join!(ports.all_open(), open);
        assert_eq!(begin.elapsed(), LIMIT / 2);

        ports.is_closed();
        ports.all_open().await;
        assert_eq!(begin.elapsed(), LIMIT / 2 + LIMIT);
    }
}
