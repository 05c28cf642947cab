"""The binaries take what the chart gives them, and answer its probes."""

import os
import pathlib
import re
import subprocess
import time

import pytest

import kubernetes
import pods
from chart import CHART, NAMESPACE, RELEASE, SCENARIOS, container, objects_of, run
from provided import server_names

pytestmark = pods.needs_binaries

# The played API has no schemas.
VALIDATES_NOTHING = "--disable-openapi-validation"
# Nodes that wait for NATS.
NODES = ("nodes", "nodes-tls")
# The others have no node here, no NATS, listen on IPv6, read what is not of this release, or differ in what is no process's.
RUNNABLE = [it for it in SCENARIOS if it not in ("gateways", "open", "existing-policy", "extra", *NODES)]
# What it asks is refused there: without TLS, nobody can show who he is.
CHECKED = [it for it in RUNNABLE if it != "policy"]


@pytest.mark.parametrize("scenario", [it for it in RUNNABLE if it not in ("cert-manager", "tokens")])
def test_pods_become_ready_and_end_well(scenario, tmp_path):
    # How the others end is as with TLS; that they become ready, the check shows.
    with pods.started(objects_of(scenario), tmp_path) as running:
        for pod in running:
            pods.wait_until(pod, "startup")
            pods.wait_until(pod, "readiness")
            assert pod.probe("liveness")
        # The gateway first, so that it has its node until the end.
        assert [pod.end() for pod in reversed(running)] == [0] * len(running)


def test_a_gateway_without_its_node_lives_but_is_not_ready(tmp_path):
    with pods.started(objects_of("gateways"), tmp_path) as [gateway]:
        pods.wait_until(gateway, "liveness")
        assert not gateway.probe("readiness")
        deadline = time.monotonic() + pods.PATIENCE
        while "cannot attach" not in gateway.log.read_text():
            assert time.monotonic() < deadline, "it does not say that it finds no node"
            time.sleep(0.05)
        assert not gateway.probe("readiness")
        assert gateway.end() == 0


@pytest.mark.parametrize("scenario", NODES)
def test_a_node_that_cannot_reach_nats_lives_but_is_not_ready(scenario, tmp_path):
    objects = objects_of(scenario)
    with pods.started(objects, tmp_path) as [node, _]:
        pods.wait_until(node, "liveness")
        assert not node.probe("readiness")
        deadline = time.monotonic() + pods.PATIENCE
        while "the record of who leads cannot be read" not in node.log.read_text():
            assert time.monotonic() < deadline, node.log.read_text()
            time.sleep(0.05)
        assert node.end() == 0


@pytest.mark.parametrize("scenario", CHECKED)
def test_helm_test_says_what_is_so(scenario, tmp_path):
    objects = objects_of(scenario)
    with pods.started(objects, tmp_path) as running:
        for pod in running:
            pods.wait_until(pod, "readiness")
        with kubernetes.played(objects, lambda pod: check(pod, objects, running, tmp_path)) as cluster:
            arguments = ("--namespace", NAMESPACE, "--kube-apiserver", cluster.address)
            values = CHART / "ci" / f"{scenario}-values.yaml"
            installed = run("helm", "install", RELEASE, CHART, "--values", values, VALIDATES_NOTHING, *arguments)
            assert installed.returncode == 0, installed.stderr
            tested = run("helm", "test", RELEASE, "--logs", *arguments)
            [name] = cluster.pods()
    # In one scenario the gateways' allow-list does not have this machine.
    is_refused = scenario == "everything"
    assert (tested.returncode != 0) == is_refused, tested.stdout + tested.stderr
    _, _, log = tested.stdout.partition(f"POD LOGS: {name}\n")
    assert ("--allow-cidr" in log) == is_refused, tested.stdout
    assert "readiness" in log, tested.stdout


def check(pod, objects, running, folder):
    """Runs the container of `helm test` to its end."""
    command = container(pod)
    words = command["command"] + command["args"]
    words = [through_services(word, objects, running) for word in [*words, *server_names(words)]]
    for path, here in pods.mounted(pod, running[0].provided, folder).items():
        words = [word.replace(path, str(here)) for word in words]
    words[0] = str(pathlib.Path(os.environ["TEST_BIN_DIR"]) / words[0].removeprefix("/"))
    checked = subprocess.run(words, capture_output=True, text=True, env={}, timeout=pods.PATIENCE)
    return checked.returncode, checked.stdout + checked.stderr


def through_services(word, objects, running):
    """An argument with this machine's address instead of a Service's name and port."""
    for service in (it for it in objects if it["kind"] == "Service"):
        [pod] = [
            it
            for it in running
            if service["spec"]["selector"].items() <= it.workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        targets = {it["name"]: pod.ports[it["containerPort"]] for it in container(pod.workload)["ports"]}
        for port in service["spec"]["ports"]:
            address = f"{service['metadata']['name']}:{port['port']}"
            word = re.sub(rf"(?<![\w-]){re.escape(address)}$", f"{pods.HOST}:{targets[port['targetPort']]}", word)
    return word
