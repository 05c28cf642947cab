//! Kinds of schedules: what may go wrong in one.

use pdu_gateway::uplink::Windows;

use crate::disturbances::Disturbance;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// Every MsgServer has one connection.
    pub(crate) single_links: bool,
    /// Connections of MsgServers die.
    pub(crate) dying_links: bool,
    /// Users move from one MsgServer to another.
    pub(crate) moving_users: bool,
    /// One gateway comes when everything is running.
    pub(crate) late_gateway: bool,
    /// Streams break, stall, are cut off for less than the grace.
    pub(crate) broken_streams: bool,
    pub(crate) node_crashes: bool,
    pub(crate) node_drains: bool,
    /// A gateway is cut off for longer than the grace.
    pub(crate) long_partitions: bool,
    /// A gateway's process dies.
    pub(crate) lost_gateways: bool,
    /// Gateways may keep so little that MsgServers are not read now and then.
    pub(crate) small_windows: bool,
}

impl Plan {
    /// What a gateway keeps for the node to confirm.
    pub(crate) fn windows(&self) -> Windows {
        if self.small_windows {
            Windows {
                link: 600,
                total: 1500,
            }
        } else {
            Windows {
                link: 8 << 20,
                total: 256 << 20,
            }
        }
    }

    pub(crate) fn disturbances(&self) -> Vec<Disturbance> {
        use Disturbance::{
            Cut, GatewayLoss, LongPartition, NodeCrash, NodeDrain, Partition, Stall,
        };
        let mut kinds = Vec::new();
        if self.broken_streams {
            kinds.extend([Cut, Cut, Stall, Partition]);
        }
        if self.node_crashes {
            kinds.extend([NodeCrash, NodeCrash]);
        }
        if self.node_drains {
            kinds.extend([NodeDrain, NodeDrain]);
        }
        if self.long_partitions {
            kinds.push(LongPartition);
        }
        if self.lost_gateways {
            kinds.push(GatewayLoss);
        }
        kinds
    }
}
