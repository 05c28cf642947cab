"""`docs/migration.md`, followed step by step while MsgServers are at work: from a broadcasting RouteServer to a release
of the chart, and back."""

import subprocess
import time

import pytest
from binaries import binary
from kubelet.cluster import Cluster
from msgservers import PATIENCE, MsgServer, new_address
from old_server import OldServer
from page import Page
from releases import rendered
from server import direct
from traffic import Traffic

ONE_BY_ONE, AT_ONCE = "Switch, one by one", "Switch, all at once"


def test_msgservers_are_switched_one_by_one_and_back(site):
    page, traffic = Page("migration.md"), site.traffic
    prepare(site, page)
    side_by_side(site, page)

    # Under load all the time: but for the one that is restarted, nobody notices anything.
    for moved, it in enumerate(site.msgservers, 1):
        page.step(ONE_BY_ONE, 1, "Put the gateway first", "restart it", "`teamtalk_route_links_claimed` is one more")
        site.restart(it, new=site.new, old=site.old.connect)
        assert it.connected == ["new", "old"]
        site.wait_for_metric("teamtalk_route_links_claimed", moved)
        page.step(ONE_BY_ONE, 2, "Watch messages from and to its users: `route-grpc subscribe`")
        site.assert_traffic_is_right(routes=("old", "new"))
        assert site.subscription_shows(it.users[0])
    page.step(ONE_BY_ONE, 3, "When `teamtalk_route_links_claimed` is the number", "Stop it", "Nothing is lost")
    with traffic:
        traffic.wait_for_more(5)
        site.old.stop()
        site.wait_until_all_are_connected("new")
        traffic.wait_for_more(5)
        traffic.stop()
        traffic.wait_until_arrived()
    traffic.assert_each_message_came_once()
    site.assert_traffic_is_right(routes=("new",))

    page.step("Back", 2, "start the old one", "wait until all MsgServers are connected", "put it first in the list")
    site.old.start()
    site.wait_until_all_are_connected("new", "old")
    for moved, it in enumerate(site.msgservers, 1):
        site.restart(it, old=site.old.connect, new=site.new)
        assert it.connected == ["old", "new"]
        site.wait_for_metric("teamtalk_route_links_claimed", len(site.msgservers) - moved)
        site.assert_traffic_is_right(routes=("old", "new"))
    page.step("Back", 2, "is 0, close the gateway's port", "Nothing is lost")
    with traffic:
        traffic.wait_for_more(5)
        site.close_port()
        site.wait_until_all_are_connected("old")
        traffic.wait_for_more(5)
        traffic.stop()
        traffic.wait_until_arrived()
    traffic.assert_each_message_came_once()
    site.assert_traffic_is_right(routes=("old",))
    page.assert_followed("Before", "Side by side", ONE_BY_ONE)


def test_msgservers_are_switched_all_at_once_and_back(site):
    page = Page("migration.md")
    prepare(site, page)
    side_by_side(site, page)

    page.step("Back", 1, "Before the switch: close the gateway's port", "`gateway.replicas=0`")
    site.close_port()
    site.wait_until_all_are_connected("old")
    site.assert_traffic_is_right(routes=("old",))
    site.open_port()
    site.wait_until_all_are_connected("old", "new")

    page.step(AT_ONCE, 1, "Stop the old one", "is now the number that you noted", "do it when it is quiet")
    site.old.stop()
    site.wait_until_all_are_connected("new")
    site.wait_for_metric("teamtalk_route_links_claimed", len(site.msgservers))
    site.assert_traffic_is_right(routes=("new",))

    page.step("Back", 3, "start the old one", "close the gateway's port", "do it when it is quiet")
    site.old.start()
    site.wait_until_all_are_connected("new", "old")
    site.assert_traffic_is_right(routes=("new", "old"))
    site.close_port()
    site.wait_until_all_are_connected("old")
    site.assert_traffic_is_right(routes=("old",))
    page.assert_followed("Before", "Side by side", AT_ONCE)


def test_of_one_address_all_are_switched_at_once(site):
    page = Page("migration.md")
    page.step("Before", 2, "share an address", "switch all at once")
    first, second, third = site.msgservers
    second.close()
    site.msgservers[1] = MsgServer(second.name, second.users, second.routes, first.address)
    site.traffic.msgservers[:] = site.msgservers
    prepare(site, page)
    side_by_side(site, page)

    site.old.stop()
    site.wait_until_all_are_connected("new")
    site.wait_for_metric("teamtalk_route_links_claimed", 3)
    site.assert_traffic_is_right(routes=("new",))

    # What the page warns of: the one that has claimed would stand for the one that has not.
    site.old.start()
    site.wait_until_all_are_connected("new", "old")
    site.restart(first, old=site.old.connect, new=site.new)
    site.wait_for_metric("teamtalk_route_links_shadows", 1)
    site.msgservers[1].close()


def prepare(site, page):
    """Everything before MsgServers hear of the new side."""
    page.step("Before", 1, "Note how many MsgServers")
    for it in site.msgservers:
        it.wait_until_connected()
    assert site.old.peers() == sorted(it.address for it in site.msgservers)
    page.step("Before", 2, "share an address")
    page.step("Before", 3, "look which dialect it speaks")
    page.step("Before", 4, "**but keep the PDU port closed**", "--set gateway.replicas=0", "must be *refused*")
    site.install()
    with pytest.raises(ConnectionRefusedError):
        site.new(new_address(), PATIENCE)


def side_by_side(site, page):
    """Everybody is connected to both; the old side is everybody's primary."""
    page.step("Side by side", 1, "add the gateway as the last of the list", "restart it, one after the other")
    for it in site.msgservers:
        site.restart(it, ["old"], old=site.old.connect, new=site.new)
        site.assert_traffic_is_right(routes=("old",))

    page.step("Side by side", 2, "open the port", "--set gateway.replicas=1", "they stay primary")
    with site.traffic as traffic:
        site.open_port()
        site.wait_until_all_are_connected("old", "new")
        traffic.wait_for_more(5)
        traffic.stop()
        traffic.wait_until_arrived()
    traffic.assert_each_message_came_once()

    page.step("Side by side", 3, "Watch", "`teamtalk_route_links_claimed` is 0", "`route-grpc status USER`")
    site.assert_traffic_is_right(routes=("old", "new"))
    site.wait_for_metric("teamtalk_route_links", len(site.msgservers))
    site.wait_for_metric("teamtalk_route_links_claimed", 0)
    site.wait_for_metric("teamtalk_route_users", len(site.msgservers))
    for it in site.msgservers:
        assert "online" in site.command("status", str(it.users[0])).lower()
    assert site.strange_pdus() == 0


@pytest.fixture
def site(tmp_path, msgservers):
    """Three MsgServers with a C++ RouteServer, and a release that is not installed yet."""
    cluster = Cluster(rendered("gateway.replicas=0"), tmp_path)
    old = OldServer((cluster.address(200), 8200))
    old.start()
    with cluster:
        yield Site(cluster, old, msgservers(3, old=old.connect))
    old.stop()


class Site:
    """What an operator has, and does."""

    def __init__(self, cluster, old, msgservers):
        self.old = old
        self.new = cluster.service("-pdu-gateway").connect
        self.msgservers = msgservers
        self.traffic = Traffic(msgservers)
        self._cluster = cluster

    def install(self):
        self._cluster.start()
        self._cluster.wait_until_ready()

    def open_port(self):
        """`helm upgrade --set gateway.replicas=1`."""
        self._cluster.deployments["pdu-gateway"].scale(1)
        self._cluster.wait_until_ready()

    def close_port(self):
        """`helm upgrade --set gateway.replicas=0`."""
        closing = self._cluster.deployments["pdu-gateway"].current
        self._cluster.deployments["pdu-gateway"].scale(0)
        for pod in closing:
            self._cluster.journal.wait("gone", pod.name)

    def restart(self, it, connected=None, **routes):
        """Restarts a MsgServer with another list, while the others are at work. Its users are gone meanwhile, so nobody
        writes to them. Waits until it is connected to all of its list, or to these."""
        self.traffic.msgservers.remove(it)
        with self.traffic as traffic:
            self.end(it)
            it.start(**routes)
            it.wait(lambda: set(it.connected) == set(connected or routes), "connected")
            it.settle()
            traffic.wait_for_more(5)
            traffic.stop()
            traffic.wait_until_arrived()
        traffic.assert_each_message_came_once()
        traffic.msgservers.append(it)

    def end(self, it):
        """Ends a MsgServer. It takes longer to start than its connections take to end: then the node knows of that."""
        links = self._metric("route-grpc", "teamtalk_route_links") if "new" in it.connected else None
        it.close()
        if links:
            self.wait_for_metric("teamtalk_route_links", links - 1)

    def wait_until_all_are_connected(self, *routes):
        """To these, the first being the primary."""
        for it in self.msgservers:
            it.wait(lambda: it.connected == list(routes), f"connected to {routes}")

    def assert_traffic_is_right(self, routes):
        """Each message comes once, each notice once from each of these."""
        with self.traffic as traffic:
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()
        traffic.assert_each_message_came_once()
        traffic.assert_each_notice_came_once(routes)
        traffic.assert_nobody_was_called_offline()

    def wait_for_metric(self, name, value):
        """Looks until the node says so."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._metric("route-grpc", name)) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, not {value}"

    def strange_pdus(self):
        """What the page says should stay 0."""
        kinds = ("unreadable", "unread_envelope", "unknown")
        return sum(self._metric("pdu-gateway", f'teamtalk_pdu_received_total{{kind="{kind}"', 0) for kind in kinds)

    def command(self, *words):
        """What one of our commands for operators prints."""
        words = [binary("route-grpc"), words[0], f"--address={self._grpc()}", *words[1:]]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout

    def subscription_shows(self, user):
        """Whether `route-grpc subscribe` shows a message from a user, who goes on writing."""
        words = [binary("route-grpc"), "subscribe", f"--address={self._grpc()}", "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as subscription, self.traffic as traffic:
            shown = any(str(user) in line for line in subscription.stdout)
            subscription.terminate()
            traffic.stop()
            traffic.wait_until_arrived()
        return shown

    def _grpc(self):
        host, port = self._cluster.service("-route-grpc").endpoint()
        return f"http://{host}:{port}"

    def _metric(self, component, name, missing=None):
        [pod] = self._cluster.deployments[component].current
        with direct.open(f"http://{pod.address}:{pod.manifest.ports['probes']}/metrics", timeout=PATIENCE) as page:
            lines = page.read().decode().splitlines()
        begins = name + "{", name + " ", name + ","
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(begins)]
        return found[0] if found else missing
