"""`helm upgrade` of a release that works, as the real controllers carry it out; `docs/upgrade.md` says what to expect."""

import time

import pytest
from expectations import assert_ended_well, times_without_node
from kubelet.cluster import UpgradeFailed
from page import Page
from releases import installed, rendered, upgraded
from traffic import Traffic

NEW = "image.tag=next"
TWO = "gateway.replicas=2"
AUTOSCALED = "gateway.autoscaling.enabled=true"


def test_node_and_gateways_are_upgraded_and_no_gateway_ends_while_no_node_routes(tmp_path, msgservers):
    with installed(rendered(TWO), tmp_path) as cluster:
        at_work = connected(4, cluster, msgservers)
        old = cluster.pods
        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            cluster.upgrade(upgraded(cluster, TWO, NEW))
            for pod in old:
                cluster.journal.wait("gone", pod.name)
            cluster.wait_until_ready()
            for it in at_work:
                it.wait(lambda: it.connected, "connected again")
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()

        # They have one connection each, and are back before what is held for them is given up.
        traffic.assert_each_message_came_once()
        assert_no_gateway_ended_without_node(cluster)
        for pod in old:
            assert_ended_well(cluster, pod)


def test_no_gateway_is_replaced_before_the_new_node_has_found_a_machine(tmp_path, msgservers):
    with installed(rendered(TWO), tmp_path) as cluster:
        at_work = connected(4, cluster, msgservers)
        old = cluster.pods
        gateways = cluster.deployments["pdu-gateway"].current
        cluster.no_room.add("route-grpc")
        cluster.upgrade(upgraded(cluster, TWO, NEW))
        [node] = [pod for pod in old if pod not in gateways]
        cluster.journal.wait("gone", node.name)
        # Nothing happens, for longer than a new gateway has to be ready.
        time.sleep(20)
        assert [it for pod in gateways for it in cluster.journal.of("killing", pod.name)] == []
        assert all(it.connects["gateway"] == 1 and it.ends == [] for it in at_work)

        cluster.make_room()
        for pod in gateways:
            cluster.journal.wait("gone", pod.name)
        cluster.wait_until_ready()
        assert_no_gateway_ended_without_node(cluster)


def test_an_image_that_cannot_be_pulled_ends_the_upgrade_and_nothing_else(tmp_path):
    Page("upgrade.md").says("What happens", "An image that cannot be pulled", "`image.check=false`")
    with installed(rendered(), tmp_path) as cluster:
        before = cluster.pods
        cluster.no_images.add("localhost/teamtalk-route:missing")

        with pytest.raises(UpgradeFailed):
            cluster.upgrade(upgraded(cluster, "image.tag=missing"))

        assert cluster.pods == before and all(pod.is_ready for pod in before)
        # Without the check nothing is routed until somebody goes back.
        cluster.upgrade(upgraded(cluster, "image.tag=missing", "image.check=false"))
        [node] = [pod for pod in before if "route-grpc" in pod.name]
        cluster.journal.wait("gone", node.name)
        cluster.apply(rendered())
        cluster.wait_until_ready()


def test_autoscaling_that_is_turned_on_begins_with_the_gateways_that_there_are(tmp_path):
    Page("upgrade.md").says("Autoscaling", "as many gateways as there are", "`gateway.autoscaling.minReplicas`")
    with installed(rendered("gateway.replicas=3"), tmp_path) as cluster:
        gateways = cluster.deployments["pdu-gateway"]
        before = gateways.current

        cluster.upgrade(upgraded(cluster, AUTOSCALED))
        assert gateways.current == before

        # What the autoscaler chooses stays too.
        gateways.scale(4)
        gateways.wait_until_ready()
        cluster.upgrade(upgraded(cluster, AUTOSCALED, "gateway.pdb.enabled=false"))
        assert gateways.replicas == len(gateways.current) == 4
        assert cluster.journal.of("killing") == []


def connected(count, cluster, msgservers):
    made = msgservers(count, gateway=cluster.service("-pdu-gateway").connect)
    for it in made:
        it.wait_until_connected()
    return made


def assert_no_gateway_ended_without_node(cluster):
    without_node = list(times_without_node(cluster))
    assert without_node, "the node was never replaced"
    for ended in cluster.journal.of("SIGTERM"):
        if "pdu-gateway" in ended.pod:
            assert not any(begin <= ended.at <= end for begin, end in without_node), f"{ended}\n{cluster.journal}"
