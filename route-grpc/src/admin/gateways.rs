//! Gateways, as the API shows them.

use route_proto::admin::v1alpha1::{Gateway, GatewayState, ListGatewaysResponse};

use crate::gateways::GatewayReport;
use crate::gateways::reach::Reach;
use crate::node::Node;

/// All gateways of the node.
pub(super) fn list(node: &Node) -> ListGatewaysResponse {
    let at = node.now();
    let mut gateways: Vec<_> = node.gateway_reports().map(|it| shown(node, it)).collect();
    gateways.sort_unstable_by(|a, b| a.gateway_id.cmp(&b.gateway_id));
    ListGatewaysResponse {
        gateways,
        node_time: Some(node.clock.timestamp(at)),
    }
}

fn shown(node: &Node, it: GatewayReport) -> Gateway {
    let lost = match it.reach {
        Reach::Away {
            until,
            may_return: true,
            ..
        } => Some(until),
        Reach::Away { .. } | Reach::CatchingUp | Reach::Here | Reach::Silent => None,
    };
    Gateway {
        gateway_id: it.id,
        incarnation: format!("{:x}", it.incarnation),
        description: it.whence,
        state: state(it.reach).into(),
        link_count: u32::try_from(it.links).unwrap_or(u32::MAX),
        queued_bytes: it.queued.bytes as u64,
        dropped_count: it.queued.dropped,
        dialect: it.dialect,
        stream_time: Some(node.clock.timestamp(it.stream_since)),
        lost_time: lost.map(|at| node.clock.timestamp(at)),
        is_draining: it.is_draining,
    }
}

fn state(reach: Reach) -> GatewayState {
    match reach {
        Reach::CatchingUp => GatewayState::CatchingUp,
        Reach::Here => GatewayState::Here,
        Reach::Silent => GatewayState::Silent,
        Reach::Away {
            may_return: true, ..
        } => GatewayState::Away,
        Reach::Away { .. } => GatewayState::Stopped,
    }
}
