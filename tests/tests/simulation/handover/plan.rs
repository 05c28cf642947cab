//! Kinds of schedules: what may go wrong in one.

use pdu_gateway::unconfirmed::windows::Windows;

use route_grpc::settings::{NodeSettings, NotifyOnLoss};

use crate::handover::disturbances::Disturbance;
use system_tests::dice::Dice;

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
    /// Two of them die at once.
    pub(crate) two_lost_gateways: bool,
    /// One dies together with the node.
    pub(crate) lost_together: bool,
    /// Gateways may keep so little that MsgServers are not read now and then.
    pub(crate) small_windows: bool,
    /// MsgServers read nothing for so long that their links' queues are full, and little is held
    /// for one that changes its connection.
    pub(crate) slow_readers: bool,
    /// Little may wait for a gateway.
    pub(crate) small_gateway_queues: bool,
    /// A subscriber takes its time, and nodes keep few events.
    pub(crate) slow_subscriber: bool,
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

    /// A node may be lost, or replaced.
    pub(crate) fn loses_nodes(&self) -> bool {
        self.node_crashes || self.node_drains || self.lost_together
    }

    /// What may wait to be written to a link, bytes of memory: some hundred and fifty notices.
    pub(crate) fn link_queue(&self) -> usize {
        if self.slow_readers { 60_000 } else { 64 << 20 }
    }

    /// How nodes are set up, each of a schedule like the others.
    pub(crate) fn node(&self, dice: &mut Dice) -> NodeSettings {
        let mut settings = NodeSettings::default();
        if dice.once_in(2) {
            settings.notify_on_loss = NotifyOnLoss::All;
        }
        if self.slow_readers {
            settings.seat_bytes = 2000 + dice.roll(6000);
        }
        if self.small_gateway_queues {
            settings.gateway_queue_bytes = 6000 + dice.roll(20_000);
        }
        if self.slow_subscriber && dice.once_in(2) {
            settings.log_events = 48 + dice.roll(100);
        } else if self.slow_subscriber {
            settings.log_bytes = 6000 + dice.roll(10_000);
        }
        settings
    }

    pub(crate) fn disturbances(&self) -> Vec<Disturbance> {
        use Disturbance::{
            Cut, GatewayAndNodeLoss, GatewayLoss, LongPartition, NodeCrash, NodeDrain, Partition,
            Stall, TwoGatewayLosses,
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
        if self.two_lost_gateways {
            kinds.push(TwoGatewayLosses);
        }
        if self.lost_together {
            kinds.push(GatewayAndNodeLoss);
        }
        kinds
    }
}
