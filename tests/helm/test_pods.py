"""The binaries take what the chart gives them, and answer its probes."""

import pytest

import pods
from chart import SCENARIOS, objects_of

pytestmark = pods.needs_binaries

# The others have no node here, or listen on IPv6.
RUNNABLE = [it for it in SCENARIOS if it not in ("gateways", "open")]


@pytest.mark.parametrize("scenario", RUNNABLE)
def test_pods_become_ready_and_end_well(scenario, tmp_path):
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
        assert "cannot attach" in gateway.log.read_text()
        assert gateway.end() == 0
