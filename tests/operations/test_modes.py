"""`helm upgrade` from one mode to another: two routers never serve one Service, for each would know a part of the users."""

import threading
import time

import pytest
from page import Page
from releases import installed, refused, rendered, upgraded
from traffic import Traffic

LOOK = 0.02
SEPARATE = ("gateway.replicas=3",)
EMBEDDED = ("mode=embedded",)


class Routers:
    """Looks all the time at who serves a Service: the routers of its pods."""

    def __init__(self, cluster):
        self.seen = []
        self._cluster = cluster
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def assert_one_at_a_time(self):
        assert self.seen, "nobody has served"
        assert max(map(len, self.seen)) == 1, self.seen

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _look(self):
        while not self._stopped.wait(LOOK):
            routers = {router_of(pod) for pod in self._cluster.service("-pdu-gateway").pods()}
            if routers and routers not in self.seen:
                self.seen.append(routers)


def router_of(pod):
    """The pod itself, if it is one; or where it attaches."""
    upstreams = [word for word in pod.manifest.command if word.startswith("--upstream=")]
    return tuple(upstreams) or pod.name


@pytest.mark.parametrize("has_room", [True, False])
def test_embedded_becomes_separate_without_two_routers_behind_the_service(has_room, tmp_path, msgservers):
    """As by those who render without a cluster, and apply: nobody refuses."""
    with installed(rendered(*EMBEDDED), tmp_path) as cluster, Routers(cluster) as routers:
        [old] = cluster.pods
        if not has_room:
            cluster.no_room.add("route-grpc")
        cluster.apply(rendered(*SEPARATE))
        cluster.journal.wait("gone", old.name)
        cluster.make_room()
        cluster.wait_until_ready()
    routers.assert_one_at_a_time()
    assert "embedded" not in cluster.deployments


def test_a_rollback_from_a_mode_that_never_came_up_has_one_router_at_a_time(tmp_path):
    """As `--atomic` does it, for those whom nobody has refused."""
    with installed(rendered(*EMBEDDED), tmp_path) as cluster, Routers(cluster) as routers:
        [old] = cluster.pods
        cluster.no_room.add("route-grpc")
        cluster.apply(rendered(*SEPARATE))
        cluster.journal.wait("gone", old.name)
        cluster.apply(rendered(*EMBEDDED))
        cluster.wait_until_ready()
    routers.assert_one_at_a_time()
    assert set(cluster.deployments) == {"embedded"}


@pytest.mark.parametrize(("before", "after", "ending"), [(EMBEDDED, SEPARATE, "embedded"), (SEPARATE, EMBEDDED, "pdu-gateway")])
def test_helm_refuses_another_mode_until_the_old_one_has_ended_as_it_says(before, after, ending, tmp_path, msgservers):
    page = Page("upgrade.md")
    with installed(rendered(*before), tmp_path) as cluster, Routers(cluster) as routers:
        at_work = msgservers(4, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()

        reason = refused(cluster, *after)
        assert f"kubectl -n im scale deployment/tt-{ending} --replicas=0" in reason
        assert f"kubectl -n im wait --for=delete pod -l app.kubernetes.io/instance=tt,app.kubernetes.io/component={ending}" in reason
        page.says("Changing the mode", "refuses", f"scale deployment/teamtalk-{ending} --replicas=0")
        ended = cluster.deployments[ending].current
        cluster.deployments[ending].scale(0)
        for pod in ended:
            cluster.journal.wait("gone", pod.name)

        cluster.upgrade(upgraded(cluster, *after))
        cluster.wait_until_ready()
        for it in at_work:
            it.wait_until_connected()
        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()
    traffic.assert_each_message_came_once()
    routers.assert_one_at_a_time()


def test_helm_refuses_gateways_of_another_node_and_takes_one_more_address_of_the_same(tmp_path):
    page = Page("upgrade.md")
    with installed(rendered("gateway.replicas=1"), tmp_path) as cluster:
        page.says("From a chart without `security`", "end the gateways", "Helm refuses until then", "`security.tls.enabled` changes")
        assert "--replicas=0" in refused(cluster, "security.tls.enabled=true", "security.tls.issuerRef.name=im")
        assert "--replicas=0" in refused(cluster, "mode=gateways", "gateway.upstreams={http://elsewhere:50051}")
        own = "http://tt-route-grpc-headless:50052"
        assert upgraded(cluster, "mode=gateways", f"gateway.upstreams={{{own},http://elsewhere:50051}}")
        assert upgraded(cluster, "image.tag=next")
