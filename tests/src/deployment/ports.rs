//! Free ports. The servers' ports must be known before they start, so they are picked here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are picked below the range from which the kernel takes ports for outgoing connections
/// (32768 up), so that no connection of another test gets one in between.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Distinct loopback addresses on which nobody listens.
///
/// # Errors
/// A sentence, if there are none.
pub fn free<const N: usize>() -> Result<[SocketAddr; N], String> {
    let mut found = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for slot in &mut found {
        *slot = next_free()?;
    }
    Ok(found)
}

fn next_free() -> Result<SocketAddr, String> {
    /// What this process has handed out.
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side start at different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let offset = (u32::from(start) * 61 + u32::from(step)) % u32::from(COUNT);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset as u16));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(format!("no free port from {FIRST} on"))
}
