//! How much may be unconfirmed, and what follows for readers and for the node.

use route_proto::attach::v1::AttachWelcome;

/// What may be unconfirmed before reading stops, bytes. Exceeded by what one read brings.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// Of one link.
    pub link: usize,
    /// Of all links together.
    pub total: usize,
}

impl Windows {
    /// What is wrong with them for a node that welcomes us so. An earlier node says nothing about it.
    pub fn misfit(&self, welcome: &AttachWelcome) -> Option<&'static str> {
        let (link, total) = (self.link as u64, self.total as u64);
        if welcome.patient_bytes >= link {
            return Some(
                "--window-bytes is not more than the node's --patient-bytes: a busy MsgServer waits for every gateway \
                that is away",
            );
        }
        let holds = welcome.cold_start_bytes;
        (holds > 0 && holds <= total).then_some(
            "--window-total-bytes is not less than the node's --cold-start-bytes: a new node may wait in vain for what we \
            have",
        )
    }
}

/// Whether a reader may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Left,
    /// It has to wait for `Uplink::poll_room`.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows {
        link: 10_000,
        total: 15_000,
    };

    #[test]
    fn windows_that_do_not_fit_the_node_are_told() {
        let misfit = |patient_bytes, cold_start_bytes| {
            let welcome = AttachWelcome {
                patient_bytes,
                cold_start_bytes,
                ..AttachWelcome::default()
            };
            WINDOWS.misfit(&welcome).unwrap_or("none")
        };
        let (link, total) = (WINDOWS.link as u64, WINDOWS.total as u64);

        assert_eq!(misfit(link - 1, total + 1), "none");
        assert_eq!(misfit(0, 0), "none", "an earlier node");
        assert!(misfit(link, total + 1).contains("--patient-bytes"));
        assert!(misfit(link - 1, total).contains("--cold-start-bytes"));
    }
}
