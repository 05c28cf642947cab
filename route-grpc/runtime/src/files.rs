//! File descriptors: how many connections the process can afford. A process without free ones takes
//! no connection on any port, so the limits of all ports together stay below its own.

use rustix::process::{Resource, getrlimit};

use crate::probes;

/// File descriptors that are no connections: listeners, the runtime, logs, a node elsewhere.
const OWN: usize = 32;

/// Connections of the ports that carry the work, all together; the probe port's places are kept
/// free.
pub fn affordable_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    files.saturating_sub(OWN + probes::MAX_CONNECTIONS).max(1)
}
