"""`docs/nodes.md`: a site goes from one node to three and back, as the page says, with MsgServers at work: on plain hosts,
and a release of the chart."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from binaries import binary
from kubelet.cluster import Cluster
from msgservers import PATIENCE
from nats import Nats
from page import Page
from releases import refused, rendered, upgraded
from test_plain_hosts import GRPC, PDU, PROBES, route
from traffic import Traffic

THERE, BACK = "From one node to three", "From three nodes to one"
# A process outside has no event for readiness: it is asked.
POLL = 0.05


@pytest.fixture
def nats(network):
    """Three servers."""
    servers = Nats(network)
    yield servers
    print(servers.log())
    servers.close()


def test_a_site_goes_from_one_node_to_three_and_back(host, network, nats, msgservers, tmp_path):
    page = Page("nodes.md")
    alone = {"TT_ROUTE_LISTEN": f"HERE:{GRPC}", "TT_ROUTE_PROBE_LISTEN": f"HERE:{PROBES}", "TT_ROUTE_INSECURE": "true"}
    node, *others = [host("route-grpc", runs=number == 0, **alone) for number in range(3)]
    page.step(THERE, 2, "all URLs in `TT_GATEWAY_UPSTREAM`", "nobody may listen yet")
    urls = ",".join(f"http://{it.address}:{GRPC}" for it in (node, *others))
    gateways = [
        host("pdu-gateway", TT_GATEWAY_EMBEDDED=None, TT_GATEWAY_UPSTREAM=urls, TT_GATEWAY_PROBE_LISTEN=f"HERE:{PROBES}")
        for _ in range(2)
    ]
    a, b = map(route, gateways)
    at_work = msgservers(2, a=a, b=b) + msgservers(2, b=b, a=a)
    for it in at_work:
        it.wait_until_connected()

    with Traffic(at_work) as traffic:
        traffic.wait_for_more(10)
        go_there(page, node, others, Engine(alone, network, nats), gateways[0])
        traffic.wait_for_more(10)
        # An update of the leader: another one leads.
        assert node.restart() == 0
        traffic.wait_for_more(10)
        wait_until(node, says="standing by")
        go_back(page, node, others, alone)
        traffic.wait_for_more(10)
        page.step(BACK, 4, "with the next update of the gateways")
        traffic.stop()
        traffic.wait_until_arrived()
    page.assert_followed(THERE, BACK)

    traffic.assert_each_message_came_once()
    traffic.assert_nobody_was_called_offline()
    for it in at_work:
        assert (it.ends, dict(it.connects)) == ([], {"a": 1, "b": 1}), it.name
    assert all(set(it.ends) == {0} for it in (node, *others))


def test_a_release_goes_from_one_node_to_three_and_back(network, nats, msgservers, tmp_path):
    page = Page("nodes.md")
    urls = ",".join(f"nats://{network}.2{number}:4222" for number in (1, 2, 3))
    login = {"kind": "password", "user": nats.user, "secret": "im-nats"}
    engine = ["engine.type=nats", f"engine.nats.urls={{{urls}}}", *(f"engine.nats.login.{it}={login[it]}" for it in login)]
    engine.append("engine.site=im")
    # Three, one that takes the place of another, and those that have not ended yet.
    with Cluster(rendered("gateway.replicas=2"), tmp_path, nodes=8) as cluster:
        cluster.volumes.provided.set("Secret", "im-nats", {"password": nats.password_file.read_text()})
        cluster.start()
        cluster.wait_until_ready()
        at_work = msgservers(4, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()

        def upgrade(*settings):
            cluster.upgrade(upgraded(cluster, "gateway.replicas=2", *settings))
            cluster.wait_until_ready()
            traffic.wait_for_more(10)

        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            page.says("In Kubernetes", "takes two upgrades; helm refuses to do both at once")
            assert "Do this with node.replicas=1 first" in refused(cluster, *engine, "node.replicas=3")
            upgrade(*engine)
            [first] = cluster.deployments["route-grpc"].current
            upgrade(*engine, "node.replicas=3")
            assert first in cluster.deployments["route-grpc"].current, "nobody is replaced for that"
            page.says("In Kubernetes", "replaced one after the other with a new one there before an old one goes")
            upgrade(*engine, "node.replicas=3", "node.podAnnotations.another=one")
            page.says("In Kubernetes", "**Back** is one upgrade")
            upgrade()
            traffic.stop()
            traffic.wait_until_arrived()

        traffic.assert_each_message_came_once()
        traffic.assert_nobody_was_called_offline()
        for it in at_work:
            assert (it.ends, it.connects["gateway"]) == ([], 1), it.name


class Engine:
    """The settings that make a node one of several."""

    def __init__(self, alone, network, nats):
        self._alone = alone
        self._given = {
            "TT_ROUTE_ENGINE": "nats",
            "TT_ROUTE_NATS_URL": ",".join(f"nats://{network}.2{number}:4222" for number in (1, 2, 3)),
            "TT_ROUTE_NATS_USER": nats.user,
            "TT_ROUTE_NATS_PASSWORD_FILE": str(nats.password_file),
            "TT_ROUTE_SITE": "im",
        }

    def write_into(self, service):
        here = {**self._alone, "TT_ROUTE_ADVERTISE_API": f"http://HERE:{GRPC}"}
        service.edit(**self._given, **{name: value.replace("HERE", service.address) for name, value in here.items()})

    def run_in_a_terminal(self, command):
        """The command that the page has, with the site's settings."""
        program, *words = command.split()
        return subprocess.Popen([binary(program), *words], env=self._given, stdout=subprocess.PIPE, text=True)


def go_there(page, node, others, engine, gateway):
    page.step(THERE, 1, "`route-grpc check-config`")
    for service in others:
        engine.write_into(service)
        told = subprocess.run([binary("route-grpc"), "check-config"], env=service.environment, capture_output=True, text=True)
        assert (told.returncode, "site im: NATS says who leads" in told.stdout) == (0, True), told

    page.step(THERE, 3, "that no gateway can reach", "*this node serves*")
    [command] = re.findall(r"`(route-grpc serve .*?)`", " ".join(page.text(THERE).split()))
    with engine.run_in_a_terminal(command) as first:
        next(line for line in first.stdout if "this node serves" in line)

        page.step(THERE, 4, "`systemctl restart route-grpc`", "*standing by*")
        engine.write_into(node)
        assert node.restart() == 0
        wait_until(node, says="standing by")

        page.step(THERE, 5, "with Ctrl-C", "*serving*")
        first.send_signal(signal.SIGINT)
        said = first.stdout.read()
        assert "the record is released" in said, said
    wait_until(node, says="serving")

    page.step(THERE, 6, "Start the other nodes", "*standing by*")
    for service in others:
        service.start()
    for service in others:
        wait_until(service, says="standing by")

    page.step(THERE, 7, "above 0 at one node and 0 at the others", "`route-grpc check` succeeds at each")
    assert [term(it) > 0 for it in (node, *others)] == [True, False, False]
    for service in (node, *others):
        address, pdu = f"http://{service.address}:{GRPC}", f"{gateway.address}:{PDU}"
        check = [binary("route-grpc"), "check", f"--address={address}", f"--pdu={pdu}"]
        told = subprocess.run(check, capture_output=True, text=True, timeout=PATIENCE)
        assert told.returncode == 0, told


def go_back(page, node, others, alone):
    page.step(BACK, 1, "Stop all nodes but the one that is to stay")
    for service in others:
        assert service.stop()[0] == 0
    page.step(BACK, 2, "Wait until the one that stays leads")
    wait_until(node, says="serving")
    assert term(node) > 0
    page.step(BACK, 3, "`TT_ROUTE_ENGINE` and the other settings", "`systemctl restart route-grpc`")
    node.edit(**{name: value.replace("HERE", node.address) for name, value in alone.items()})
    assert node.restart() == 0
    wait_until(node, says="serving")


def term(service):
    [value] = re.findall(r"^teamtalk_route_term (\d+)$", asked(service, "/metrics"), re.M)
    return int(value)


def wait_until(service, says):
    """`curl …/readyz`, until it says this."""
    deadline = time.monotonic() + PATIENCE
    while says not in (said := asked(service, "/readyz")):
        assert time.monotonic() < deadline, f"{said}:\n{service.log()}"
        time.sleep(POLL)


def asked(service, path):
    try:
        with urllib.request.urlopen(f"http://{service.address}:{PROBES}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)
