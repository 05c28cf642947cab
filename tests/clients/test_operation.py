"""Health and drain, as clients see them."""

import grpc
import pytest
from client import DEADLINE, Client, details, reason
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgserver import MsgServer


@pytest.mark.parametrize(
    "service",
    [
        "",
        "liveness",
        "readiness",
        "teamtalk.route.v1.PresenceService",
        "teamtalk.route.v1.BroadcastService",
        "teamtalk.attach.v1.AttachService",
    ],
)
def test_health_answers_for_each_name(client, service):
    health = health_pb2_grpc.HealthStub(client.channel)

    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_does_not_know_other_names(client):
    health = health_pb2_grpc.HealthStub(client.channel)

    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="nonsense"), timeout=DEADLINE)

    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_drain_tells_every_stream_and_ends_by_itself(start_server):
    server = start_server()
    client = Client(server)
    watch, subscription = client.watch(all_users=True), client.subscribe()
    watch.snapshot()
    subscription.next("subscribed")

    with MsgServer(server.pdu) as msg_server:
        msg_server.statuses()
        server.terminate()

        for stream in [watch, subscription]:
            stream.next("draining")
            error = stream.end()
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert reason(error) == "DRAINING"
            assert "RetryInfo" in details(error)
        assert server.wait() == 0
