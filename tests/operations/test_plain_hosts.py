"""`docs/plain-hosts.md`: its units are what systemd takes, and run as it says."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from binaries import binary
from kubelet.probe import ask_http
from msgservers import PATIENCE
from page import Page
from systemd import INSTALLED, UNITS
from traffic import Traffic

SYSTEM_UNITS = pathlib.Path("/usr/lib/systemd/system")
PDU, GRPC, PROBES = 8200, 50051, 9464
# A process outside has no event for readiness: it is asked.
POLL = 0.02
# Of 100, as `systemd-analyze security` counts; a service without any protection has 96.
MOST_EXPOSED = 20


def test_one_process_serves_and_stops(host, msgservers):
    embedded = host("pdu-gateway", TT_GATEWAY_PROBE_LISTEN=f"HERE:{PROBES}", TT_GATEWAY_GRPC_LISTEN=f"HERE:{GRPC}", TT_ROUTE_INSECURE="true")
    wait_until_ready(embedded)
    at_work = msgservers(2, gateway=route(embedded))
    with Traffic(at_work) as traffic:
        for it in at_work:
            it.wait_until_connected()
        traffic.wait_for_more(10)
        traffic.stop()
        traffic.wait_until_arrived()
    status = [binary("route-grpc"), "status", f"--address=http://{embedded.address}:{GRPC}", "1001"]

    shown = subprocess.run(status, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    code, duration = embedded.stop()

    traffic.assert_each_message_came_once()
    assert "online" in shown.lower()
    assert (code, duration < float(embedded.unit["TimeoutStopSec"])) == (0, True)
    for it in at_work:
        it.wait(lambda: it.ends, "disconnected")
        assert it.ends == [("gateway", "FIN")]


def test_several_processes_are_updated_and_crash(host, msgservers):
    page = Page("plain-hosts.md")
    node = host("route-grpc", TT_ROUTE_LISTEN=f"HERE:{GRPC}", TT_ROUTE_PROBE_LISTEN=f"HERE:{PROBES}", TT_ROUTE_INSECURE="true")
    gateways = [
        host(
            "pdu-gateway",
            TT_GATEWAY_EMBEDDED=None,
            TT_GATEWAY_UPSTREAM=f"http://{node.address}:{GRPC}",
            TT_GATEWAY_PROBE_LISTEN=f"HERE:{PROBES}",
        )
        for _ in range(2)
    ]
    for service in (node, *gateways):
        wait_until_ready(service)
    # Each lists both; half of them have one for their primary, half the other.
    a, b = map(route, gateways)
    at_work = msgservers(2, a=a, b=b) + msgservers(2, b=b, a=a)
    for it in at_work:
        it.wait_until_connected()

    with Traffic(at_work) as traffic:
        page.says("Update", "systemctl restart route-grpc")
        traffic.wait_for_more(10)
        assert node.restart() == 0
        traffic.wait_for_more(10)
        os.kill(node.pid, signal.SIGKILL)
        traffic.wait_for_more(10)
        traffic.stop()
        traffic.wait_until_arrived()
    traffic.assert_each_message_came_once()
    traffic.assert_nobody_was_called_offline()
    assert node.ends == [0, -signal.SIGKILL]
    assert all(it.ends == [] for it in at_work)

    page.says("Update", "then, one host after the other", "systemctl restart pdu-gateway")
    page.says("Update", "wait until all MsgServers are connected to this gateway again")
    with traffic:
        for gateway in gateways:
            traffic.wait_for_more(10)
            assert gateway.restart() == 0
            wait_until_ready(gateway)
            for it in at_work:
                it.wait(lambda: len(it.connected) == 2, "connected to both")
        traffic.wait_for_more(10)
        traffic.stop()
        traffic.wait_until_arrived()
    traffic.assert_each_message_came_once(in_order=False)
    for it in at_work:
        assert sorted(it.ends) == [("a", "FIN"), ("b", "FIN")], it.name
    assert [gateway.ends for gateway in gateways] == [[0], [0]]


def test_systemd_takes_the_units_as_they_are(tmp_path):
    root = installed(tmp_path)

    verified = analyze("verify", f"--root={root}", *units())
    exposed = analyze("security", f"--root={root}", "--offline=true", f"--threshold={MOST_EXPOSED}", *units())

    # What it does not know, it tells, and ignores.
    told = [line for line in verified.stderr.splitlines() if any(unit in line for unit in units())]
    assert (verified.returncode, told) == (0, [])
    assert exposed.returncode == 0, exposed.stdout


@pytest.mark.parametrize(
    ("mistake", "told"),
    [("ProtectSystm=strict", "ProtectSystm"), ("ProtectSystem=sometimes", "sometimes")],
)
def test_systemd_would_tell_of_a_mistake(mistake, told, tmp_path):
    root = installed(tmp_path)
    unit = root / "etc/systemd/system/route-grpc.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", mistake))

    assert told in analyze("verify", f"--root={root}", unit.name).stderr


def installed(root):
    """A file system with our units and binaries in their places, and systemd's own units."""
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / INSTALLED.strip("/")).mkdir(parents=True)
    shutil.copytree(SYSTEM_UNITS, root / str(SYSTEM_UNITS).strip("/"), symlinks=True)
    for unit in units():
        shutil.copy(UNITS / unit, root / "etc/systemd/system")
        shutil.copy(binary(unit.removesuffix(".service")), root / INSTALLED.strip("/"))
    return root


def units():
    return sorted(path.name for path in UNITS.glob("*.service"))


def analyze(*words):
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=PATIENCE)


def route(gateway):
    """How MsgServers connect to a gateway's host."""
    return lambda source, timeout: socket.create_connection((gateway.address, PDU), timeout, source_address=(source, 0))


def wait_until_ready(service):
    """`curl -sf …/readyz`, until it says so."""
    deadline = time.monotonic() + PATIENCE
    while failure := ask_http(service.address, PROBES, "/readyz", PATIENCE):
        assert time.monotonic() < deadline, f"{failure}:\n{service.log()}"
        time.sleep(POLL)
