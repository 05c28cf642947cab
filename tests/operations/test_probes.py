"""What probes are for: a gateway without a node gets no new MsgServers, a process that hangs is started anew."""

import os
import signal

import pytest
from expectations import assert_ended_well
from knocker import Knocker
from kubelet.cluster import Cluster
from releases import installed, rendered, scenario
from traffic import Traffic


def test_a_gateway_that_loses_its_node_holds_new_connections_too_and_gets_none_before_it_refuses_them(tmp_path, msgservers):
    # What is 60 s by default, so that the test is short.
    with installed(scenario("default", "gateway.flags.upstream-lost=14s"), tmp_path) as cluster:
        journal = cluster.journal
        [gateway] = cluster.deployments["pdu-gateway"].current
        [it] = msgservers(1, gateway=cluster.service("-pdu-gateway").connect)
        it.wait_until_connected()

        with Knocker(gateway.address, gateway.manifest.ports["pdu"]) as knocker:
            [node] = cluster.deployments["route-grpc"].current
            cluster.deployments["route-grpc"].scale(0)
            lost = cluster.journal.wait("gone", node.name)
            # Who comes now is held like the first one.
            [late] = msgservers(1, gateway=cluster.service("-pdu-gateway").connect)
            late.wait(lambda: late.connected, "connected")
            out = journal.wait("out of endpoints", gateway.name)
            still_connected = [it.connected, late.connected]
            refused_at = knocker.refused_at
        it.wait(lambda: it.ends, "disconnected")

        assert still_connected == [["gateway"], ["gateway"]], "losing the node for a moment costs no connection"
        assert lost.at < out.at < refused_at
        assert cluster.service("-pdu-gateway").endpoints() == []
        assert journal.of("killing", gateway.name) == [], "liveness depends on nothing else"
        assert "no node for too long" in gateway.log()

        cluster.deployments["route-grpc"].scale(1)
        journal.wait("in endpoints", gateway.name, count=2)
        it.wait_until_connected()


@pytest.mark.parametrize(
    ("upstream", "reason"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("http://no-such-node.invalid:50051", "dns error"),
    ],
)
def test_a_wrong_upstream_keeps_a_gateway_unready_and_its_log_says_why(upstream, reason, tmp_path):
    objects = rendered("mode=gateways", f"gateway.upstreams={{{upstream}}}")
    with Cluster(objects, tmp_path) as cluster:
        cluster.start()
        [gateway] = cluster.deployments["pdu-gateway"].current
        cluster.journal.wait("started up", gateway.name)
        cluster.journal.wait("probe failed", gateway.name, count=3)

        assert not gateway.is_ready
        assert cluster.service("-pdu-gateway").endpoints() == []
        with pytest.raises(ConnectionRefusedError):
            cluster.service("-pdu-gateway").connect("127.0.0.1", 1)
        lines = [line for line in gateway.log().splitlines() if "cannot attach" in line]
        assert lines and upstream in lines[0] and reason in lines[0], gateway.log()

        gateway.delete()
        cluster.journal.wait("gone", gateway.name)
        assert_ended_well(cluster, gateway)


def test_processes_that_hang_are_started_anew(tmp_path, msgservers):
    """A node and an embedded server at the same time, for it takes long to notice."""
    with (
        installed(scenario("default"), folder(tmp_path, "separate")) as separate,
        installed(scenario("embedded"), folder(tmp_path, "embedded")) as embedded,
    ):
        [node], [server] = separate.deployments["route-grpc"].current, embedded.pods
        at_work = msgservers(3, gateway=separate.service("-pdu-gateway").connect)
        [of_server] = msgservers(1, gateway=embedded.service("-pdu-gateway").connect)
        for it in (*at_work, of_server):
            it.wait_until_connected()

        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            traffic.node_is_lost()
            os.kill(node.pid, signal.SIGSTOP)
            os.kill(server.pid, signal.SIGSTOP)
            assert_restarted(embedded, server)
            assert_restarted(separate, node)
            traffic.wait_for_more(10)
            traffic.node_is_back()
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()

        # Without the node, gateways hold what MsgServers send. Without a gateway, these come back.
        traffic.assert_each_message_came_once()
        traffic.assert_notices_tell_what_is_so()
        traffic.assert_nobody_was_called_offline()
        for it in at_work:
            assert (it.connects["gateway"], it.ends) == (1, []), it.name
        of_server.wait(lambda: of_server.connects["gateway"] == 2, "connected again")


def assert_restarted(cluster, pod):
    """Its liveness probe fails as often as the manifest allows; it is killed, for it does not end by itself; a new
    container becomes ready."""
    journal, liveness = cluster.journal, pod.manifest.probes["liveness"]
    killing = journal.wait("killing", pod.name)
    journal.wait("ready", pod.name, count=2)
    failures = [it for it in journal.of("probe failed", pod.name) if it.detail.startswith("liveness")]

    assert killing.detail == "liveness probe failed"
    assert len(failures) == liveness.failures
    assert journal.of("out of endpoints", pod.name)[0].at < killing.at
    assert len(journal.of("SIGKILL", pod.name)) == 1
    assert [event.detail for event in journal.of("exited", pod.name)] == [-signal.SIGKILL]


def folder(path, name):
    path = path / name
    path.mkdir()
    return path
