//! File descriptors: how many connections the process can afford. A process without free ones takes
//! no connection on any port, so the limits of all ports together stay below its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::probes;

/// File descriptors that are no connections: listeners, the runtime, logs, a node elsewhere.
const OWN: usize = 32;

/// A process that can take fewer connections than this is of no use.
const LEAST: usize = 16;

/// The process may open too few files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open {files} files, and needs {needed} at least: raise its hard limit (ulimit -Hn, LimitNOFILE=)"
)]
pub struct TooFewFiles {
    files: usize,
    needed: usize,
}

/// Raises the limit of open files to what the process may have. Returns how many connections the ports that carry the
/// work can afford, all together; the probe port's places are kept free.
///
/// # Errors
///
/// There is no room for any use.
pub fn make_room_for_connections() -> Result<usize, TooFewFiles> {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    // A sandbox may forbid it. Then it is as it was.
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(_) => limits.current,
    };
    affordable(files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    }))
}

fn affordable(files: usize) -> Result<usize, TooFewFiles> {
    let kept = OWN + probes::MAX_CONNECTIONS;
    let affordable = files.saturating_sub(kept);
    match affordable >= LEAST {
        true => Ok(affordable),
        false => Err(TooFewFiles {
            files,
            needed: kept + LEAST,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_for_a_few_connections_there_is_none() {
        let needed = OWN + probes::MAX_CONNECTIONS + LEAST;
        assert_eq!(affordable(needed), Ok(LEAST));
        let files = needed - 1;
        assert_eq!(affordable(files), Err(TooFewFiles { files, needed }));
        assert_eq!(affordable(0), Err(TooFewFiles { files: 0, needed }));
    }

    #[test]
    fn as_many_files_as_the_process_may_have() {
        make_room_for_connections().expect("tests may open some");
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
    }
}
