"""Replacing the node, as `helm upgrade` does, while MsgServers and subscribers are at work."""

import pytest
from expectations import assert_ended_well, assert_probes_failed_in_their_windows_only
from releases import installed, scenario
from subscribers import Subscriber, Watcher
from traffic import Traffic

# Of the nodes: the old one's readiness while it drains, the new one's while it waits for gateways.
MOST_FAILURES = 5


@pytest.mark.parametrize("name", ["default", "ha"])
def test_the_node_is_replaced_and_no_msgserver_notices(name, tmp_path, msgservers, followers):
    with installed(scenario(name), tmp_path) as cluster:
        pdu, grpc = cluster.service("-pdu-gateway"), cluster.service("-route-grpc")
        at_work = msgservers(4, gateway=pdu.connect)
        for it in at_work:
            it.wait_until_connected()
        followers += [
            subscriber := Subscriber(grpc.endpoint),
            watcher := Watcher(grpc.endpoint, [it.users[0] for it in at_work]),
        ]
        subscriber.wait(lambda: subscriber.marks, "subscribed")
        watcher.wait(lambda: "snapshot_end" in watcher.marks, "given a snapshot")

        with Traffic(at_work) as traffic:
            traffic.wait_for_more()
            traffic.node_is_lost()
            [old] = cluster.deployments["route-grpc"].replace()
            traffic.wait_for_more()
            traffic.node_is_back()
            traffic.wait_for_more()
            traffic.stop()
            traffic.wait_until_arrived()

        traffic.assert_each_message_came_once()
        traffic.assert_notices_tell_what_is_so()
        traffic.assert_nobody_was_called_offline()
        for it in at_work:
            assert (it.connects["gateway"], it.ends) == (1, []), it.name

        subscriber.wait(lambda: subscriber.saw_the_last(traffic.sent), "given the last events")
        assert subscriber.marks == ["subscribed", "draining", "gap"]
        assert subscriber.gap_reasons == ["GAP_REASON_EPOCH_CHANGED"]
        subscriber.assert_nothing_came_twice()
        subscriber.assert_nothing_is_missing()
        assert watcher.went_offline == []
        assert all(users == set(watcher.users) for users in watcher.snapshots) and len(watcher.snapshots) == 2

        assert_few_probes_failed(cluster, old, {peer for it in at_work for peer in it.peers})
        assert_ended_well(cluster, old)
        assert_probes_failed_in_their_windows_only(cluster)


def assert_few_probes_failed(cluster, old, holding):
    """Each failure is an event *Unhealthy* that somebody reads: none of a gateway that holds MsgServers, few of the nodes."""
    gateways = {pod.name for pod in cluster.pods if pod.address in holding and pod is not old}
    since = cluster.journal.of("killing", old.name)[0].at
    failures = [it for it in cluster.journal.of("probe failed") if it.at > since]
    assert gateways and [it for it in failures if it.pod in gateways] == []
    of_nodes = [str(it) for it in failures if "route-grpc" in it.pod]
    assert len(of_nodes) <= MOST_FAILURES, of_nodes
