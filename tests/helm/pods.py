"""Rendered Deployments as processes of this machine: the container's own command, flags and environment.

Different are ports, for free ones take their place, host names, for this machine takes theirs, and the paths of mounts.
"""

import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chart import container, workloads
from provided import Provided, server_names, spec_of

HOST = "127.0.0.1"
# Longer than any process here needs, so that only a hang meets it.
PATIENCE = 60

needs_binaries = pytest.mark.skipif(
    "TEST_BIN_DIR" not in os.environ, reason="TEST_BIN_DIR does not say where the binaries are"
)


class Pod:
    """One process."""

    def __init__(self, workload, ports, log, provided):
        self.workload = workload
        self.ports = ports
        self.log = log
        self.provided = provided
        self.mounts = mounted(workload, provided, log.parent)
        given = container(workload)["command"] + container(workload)["args"]
        command = [self.here(word) for word in [*given, *server_names(given)]]
        command[0] = str(pathlib.Path(os.environ["TEST_BIN_DIR"]) / command[0].removeprefix("/"))
        environment = {it["name"]: it.get("value", HOST) for it in container(workload).get("env", [])}
        # It would make it of its host's name, which is its pod's.
        environment["TT_GATEWAY_GATEWAY_ID"] = f"{workload['metadata']['name']}-1"
        with log.open("w") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def here(self, word):
        """An argument with this machine's ports, hosts and folders."""
        for path, folder in self.mounts.items():
            word = word.replace(path, str(folder))
        word = re.sub(r"(https?)://[\w.-]+:", rf"\1://{HOST}:", word).replace("$(POD_IP)", HOST)
        word = word.replace("$(POD_NAME)", self.workload["metadata"]["name"])
        # A listener may have a name. A table of hosts has none of our ports, nor has NATS, which is not there.
        if word.startswith(("--msg-server=", "--nats-url=")):
            return word
        return re.sub(r":(\d+)(?==|$)", lambda found: f":{self.ports[int(found[1])]}", word)

    def probe(self, kind):
        """Whether a probe succeeds, asked as the kubelet asks."""
        probe = container(self.workload)[f"{kind}Probe"]
        try:
            if "grpc" in probe:
                with grpc.insecure_channel(f"{HOST}:{self.ports[probe['grpc']['port']]}") as channel:
                    request = health_pb2.HealthCheckRequest(service=probe["grpc"]["service"])
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=probe["timeoutSeconds"])
                return answer.status == health_pb2.HealthCheckResponse.SERVING
            self.page(probe["httpGet"]["path"], probe["httpGet"]["port"], probe["timeoutSeconds"])
            return True
        except (OSError, grpc.RpcError):
            return False

    def page(self, path, port=9464, timeout=5):
        with urllib.request.urlopen(f"http://{HOST}:{self.ports[port]}{path}", timeout=timeout) as answer:
            return answer.read().decode()

    def end(self):
        """SIGTERM, and the exit code, within the time that is left after preStop."""
        spec = self.workload["spec"]["template"]["spec"]
        pre_stop = container(self.workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=spec["terminationGracePeriodSeconds"] - pre_stop)


@contextlib.contextmanager
def started(objects, folder):
    """The Deployments of a release, node first; killed at the end if they still run."""
    ordered = sorted(workloads(objects), key=lambda it: it["metadata"]["name"], reverse=True)
    pods = []
    shared = free_ports([50051, 50052])
    provided = Provided(objects, folder)
    try:
        for workload in ordered:
            # Everybody's gRPC is one; the other ports are each pod's own.
            own = [port["containerPort"] for port in container(workload)["ports"]]
            ports = {**free_ports(own), **shared}
            log = folder / f"{workload['metadata']['name']}.log"
            pods.append(Pod(workload, ports, log, provided))
        yield pods
    finally:
        for pod in pods:
            pod.process.kill()
            pod.process.wait()


def mounted(it, provided, folder):
    """What a pod mounts, as folders of this machine by their paths in the container."""
    spec = spec_of(it)
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounts = {}
    for mount in container(it).get("volumeMounts", []):
        here = mounts[mount["mountPath"]] = folder / it["metadata"]["name"] / mount["name"]
        here.mkdir(parents=True)
        for name, text in provided.files(volumes[mount["name"]], spec["serviceAccountName"]).items():
            (here / name).write_text(text)
    return mounts


def wait_until(pod, kind, succeeds=True):
    """Asks a probe until it says so."""
    deadline = time.monotonic() + PATIENCE
    while pod.probe(kind) != succeeds:
        assert pod.process.poll() is None, f"ended:\n{pod.log.read_text()}"
        assert time.monotonic() < deadline, f"{kind} is not {succeeds}:\n{pod.log.read_text()}"


def free_ports(wanted):
    """A free port of this machine for each."""
    return {port: next_free_port() for port in wanted}


def next_free_port():
    for port in candidates:
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise RuntimeError("no free port")


# Below the range from which the kernel takes ports for outgoing connections (32768 up), so that nobody's connection gets one
# between its choice and its use; each is chosen once, and test runs side by side begin at different places.
candidates = iter(random.sample(range(12_000, 32_000), 20_000))
