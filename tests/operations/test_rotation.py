"""Certificates, their CA and tokens are replaced while MsgServers are at work, as cert-manager and the kubelet do it."""

import json
import ssl
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kubelet.cluster import Cluster
from kubelet.journal import PATIENCE
from kubelet.probe import OPTIONS
from page import Page
from provided import GATEWAY_URI, SERVER_NAME, Authority
from releases import installed, scenario
from traffic import Traffic

GRPC = 50051
# Between two looks at a node that reads its files anew.
POLL = 0.1
PAGE = "Rotate a CA"
# Of a gateway's first token, in seconds: it starts, and MsgServers are at work, before it expires.
LIFETIME = 10


class Site:
    """The release, and what its operator keeps beside it."""

    def __init__(self, cluster):
        self._volumes = cluster.volumes
        self._provided = cluster.volumes.provided
        [self.node] = cluster.deployments["route-grpc"].current

    def renew(self, authority):
        """Both secrets get new certificates, as cert-manager writes them. Returns the client's, once the node shows its own."""
        node = authority.issue(["server auth"], [SERVER_NAME])
        gateway = authority.issue(["client auth"], uris=[GATEWAY_URI])
        self._volumes.change("Secret", "im-node", node)
        self._volumes.change("Secret", "im-gateway", gateway)
        wait_until(lambda: self._shown() == node["tls.crt"], self.node, "showing the new certificate")
        return gateway

    def trust(self, *authorities):
        """Whom node and gateways trust, and nobody else."""
        self._volumes.change("ConfigMap", "im-roots", {"roots.pem": self._roots(authorities)})

    def wait_until_admits(self, client, admits, *roots):
        """Until the node makes a hand-shake with this certificate, or no longer does."""
        wait_until(lambda: self._admits(client, self._roots(roots)) == admits, self.node, f"admitting={admits}")

    def _roots(self, authorities):
        return "".join(it.root for it in authorities)

    def _shown(self):
        return ssl.get_server_certificate((self.node.address, GRPC), timeout=PATIENCE)

    def _admits(self, client, roots):
        credentials = grpc.ssl_channel_credentials(roots.encode(), client["tls.key"].encode(), client["tls.crt"].encode())
        options = [*OPTIONS, ("grpc.ssl_target_name_override", SERVER_NAME)]
        with grpc.secure_channel(f"{self.node.address}:{GRPC}", credentials, options) as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                return False
        return True


def attached(gateway):
    """How often a gateway has attached."""
    return sum(json.loads(line)["message"] == "attached" for line in gateway.log().splitlines())


def test_certificates_and_their_ca_are_replaced_and_no_msgserver_notices(tmp_path, msgservers):
    page = Page("tls.md")
    with installed(scenario("tls"), tmp_path) as cluster:
        site, gateways = Site(cluster), cluster.deployments["pdu-gateway"].current
        old, new = cluster.volumes.provided.authority, Authority(tmp_path, "new")
        at_work = msgservers(4, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()

        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            by_old = site.renew(old)
            traffic.wait_for_more(10)
            assert [attached(it) for it in gateways] == [1, 1], "an open stream goes on"

            page.step(PAGE, 1, "the old root and the new one")
            site.trust(old, new)
            page.step(PAGE, 2, "until everybody has read it")
            by_new = new.issue(["client auth"], uris=[GATEWAY_URI])
            site.wait_until_admits(by_new, True, old)
            page.step(PAGE, 3, "by the new CA")
            by_new = site.renew(new)
            site.wait_until_admits(by_old, True, new)
            site.wait_until_admits(by_new, True, new)
            traffic.wait_for_more(10)
            page.step(PAGE, 4, "Take the old root out")
            site.trust(new)
            site.wait_until_admits(by_old, False, new)
            site.wait_until_admits(by_new, True, new)
            traffic.wait_for_more(10)
            page.assert_followed(PAGE)
            traffic.stop()
            traffic.wait_until_arrived()

        # Streams that had begun with a certificate of the old CA were ended, and began with one of the new.
        assert [attached(it) for it in gateways] == [2, 2]
        assert_nobody_noticed(cluster, traffic)


def test_tokens_are_replaced_and_no_msgserver_notices(tmp_path, msgservers):
    with Cluster(scenario("tokens", "node.flags.token-leeway=0s"), tmp_path) as cluster:
        cluster.volumes.provided.lifetime = LIFETIME
        cluster.start()
        cluster.wait_until_ready()
        [gateway] = cluster.deployments["pdu-gateway"].current
        at_work = msgservers(2, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()

        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            assert attached(gateway) == 1
            cluster.volumes.provided.lifetime = None
            cluster.volumes.renew_tokens()
            # The stream ends with the token that it came with.
            wait_until(lambda: attached(gateway) == 2, gateway, "attached again")
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()
        assert "the token has expired" in gateway.log()
        assert_nobody_noticed(cluster, traffic)


def assert_nobody_noticed(cluster, traffic):
    """Nothing was lost or came twice, no connection was closed, and pods stayed ready."""
    traffic.assert_each_message_came_once()
    traffic.assert_each_notice_came_once()
    traffic.assert_nobody_was_called_offline()
    for it in traffic.msgservers:
        assert (it.connects["gateway"], it.ends) == (1, []), it.name
    for pod in cluster.pods:
        assert cluster.journal.of("unready", pod.name) == []
        assert len(cluster.journal.of("started", pod.name)) == 1


def wait_until(condition, pod, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{pod.name} was never seen {what}:\n{pod.log()}"
        time.sleep(POLL)
