"""The one thing that the played kubelet leaves out: in a cluster a new node has another address under the same name."""

import contextlib
import subprocess
import time

import pytest
from kubelet.cluster import Cluster
from kubelet.journal import PATIENCE
from kubelet.manifest import Here
from kubelet.probe import ask
from releases import scenario

# A process of which /etc/hosts is a file of ours.
WITH_HOSTS = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", '/bin/mount --bind "$0" /etc/hosts && exec "$@"']
POLL = 0.02


def can_mount(folder):
    hosts = folder / "hosts"
    hosts.touch()
    return subprocess.run([*WITH_HOSTS, hosts, "true"], capture_output=True).returncode == 0


def test_a_gateway_follows_its_node_to_another_address(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("NOT TESTED: this machine does not let us mount a file over /etc/hosts")
    hosts = tmp_path / "hosts"
    cluster = Cluster(scenario("default"), tmp_path)
    node, gateway = (cluster.deployments[name].manifest for name in ("route-grpc", "pdu-gateway"))
    [name] = [name for name in cluster.services if name.endswith("-headless")]
    first, second, own = (cluster.address(slot) for slot in (1, 2, 10))

    hosts.write_text(f"{first} {name}\n")
    with running(gateway, own, tmp_path, prefix=[*WITH_HOSTS, hosts]):
        with running(node, first, tmp_path):
            wait_until(gateway, own, ready=True)
        wait_until(gateway, own, ready=False)
        # In place: the file is mounted, not its name.
        hosts.write_text(f"{second} {name}\n")
        with running(node, second, tmp_path):
            wait_until(gateway, own, ready=True)


@contextlib.contextmanager
def running(manifest, address, folder, prefix=()):
    """A pod's process, with the names in its arguments left as they are."""
    command, environment = manifest.process(Here(address, address, names={}))
    with (folder / f"{address}.log").open("w") as log:
        process = subprocess.Popen([*prefix, *command], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_until(manifest, address, ready):
    """Asks the readiness probe until it says so."""
    deadline = time.monotonic() + PATIENCE
    while (ask(manifest.probes["readiness"], address) is None) != ready:
        assert time.monotonic() < deadline, f"readiness of {address} is not {ready}"
        time.sleep(POLL)
