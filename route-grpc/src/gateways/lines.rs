//! Log lines about gateways: so many a minute of each host.

use std::net::IpAddr;
use std::time::Duration;

use tracing::info;

use super::Gateways;

impl Gateways {
    /// `Some` if there is a line for what has happened to a gateway of this host, with how many were left out before.
    pub(crate) fn line(&self, now: Duration, host: Option<IpAddr>) -> Option<u64> {
        let host = host.map_or_else(String::new, |host| host.to_string());
        self.lines.take(now, &host)
    }

    /// Says how many lines were left out, when the minute is over; about once a second.
    pub(crate) fn tell_left_out(&self, now: Duration) {
        self.lines.tick(now, |host, left_out| {
            info!(host, left_out, "more happened to gateways of this host");
        });
    }
}
