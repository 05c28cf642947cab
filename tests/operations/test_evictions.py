"""`kubectl drain` of machines with gateways: what the disruption budget lets it end."""

import time

from releases import installed, scenario


def test_gateways_that_hold_msgservers_while_the_node_is_away_are_not_all_evicted(tmp_path, msgservers):
    with installed(scenario("ha"), tmp_path) as cluster:
        at_work = msgservers(6, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()
        gateways = cluster.deployments["pdu-gateway"].current
        holding = [pod for pod in gateways if any(pod.address in it.peers for it in at_work)]

        cluster.no_room.add("route-grpc")
        [node] = cluster.deployments["route-grpc"].current
        node.delete()
        cluster.journal.wait("gone", node.name)
        # Nothing tells that a probe goes on to succeed: one that fails would have been noticed by now.
        readiness = gateways[0].manifest.probes["readiness"]
        time.sleep(readiness.period * (readiness.failures + 1))
        assert all(pod.is_ready for pod in holding)
        evicted = [pod for pod in gateways if cluster.evict(pod)]
        assert len(evicted) <= 1, "more than the budget has"

        cluster.make_room()
        cluster.wait_until_ready()
        for it in at_work:
            it.wait_until_connected()
        # One after the other, as drains go.
        for pod in cluster.deployments["pdu-gateway"].current:
            assert cluster.evict(pod)
            assert not any(cluster.evict(other) for other in cluster.deployments["pdu-gateway"].current if other.is_ready)
            cluster.wait_until_ready()
