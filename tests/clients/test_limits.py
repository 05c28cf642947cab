"""What clients may do at most: connections that say nothing, calls that are given up."""

import socket
import struct
import time

import grpc
import pytest
from client import DEADLINE, Client, details, reason
from msgserver import HEARTBEAT, OFFLINE, ONLINE, WINDOWS, MsgServer, frame
from server import Server, direct
from teamtalk.route.v1 import presence_pb2, presence_pb2_grpc

# Fewer than what connects.
FILES = 256
SILENT = 400
FEW_FILES = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]


def test_silent_connections_to_one_port_starve_no_other(tmp_path):
    with Server.start(tmp_path, run_by=FEW_FILES) as server:
        host, port = server.grpc.split(":")
        silent = [socket.create_connection((host, int(port)), DEADLINE) for _ in range(SILENT)]
        with MsgServer(server.pdu) as msg_server:
            assert msg_server.statuses(1) == [OFFLINE]
        assert metric(server, "teamtalk_route_connections_refused_total") > 0

        # All are closed: what is beyond the limit at once, the others because they do not speak HTTP/2.
        for connection in silent:
            connection.settimeout(DEADLINE)
            assert ended(connection)
        assert metric(server, "teamtalk_route_connections_silent_total") > 0
        refused = server.logged(lambda line: line["message"] == "too many gRPC connections", DEADLINE)
        assert refused["level"] == "WARN"
        # There is room again.
        client = Client(server)
        client.watch(all_users=True).snapshot()
        client.channel.close()


def test_a_full_node_says_so(tmp_path):
    with Server.start(tmp_path, flags=["--max-grpc-connections=1"]) as server:
        first = Client(server)
        stream = first.watch(all_users=True)
        stream.snapshot()
        # A connection of its own, though both channels are in one process.
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.grpc, options=options) as channel:
            second = presence_pb2_grpc.PresenceServiceStub(channel)
            for _ in range(3):
                with pytest.raises(grpc.RpcError) as refused:
                    # Without a deadline it would wait for ever, if it were not answered.
                    second.GetUserStatus(presence_pb2.GetUserStatusRequest(user_id=1))
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
                assert reason(refused.value) == "CONNECTION_LIMIT"
                assert "--max-grpc-connections" in refused.value.details()
                assert "RetryInfo" in details(refused.value)
            assert metric(server, "teamtalk_route_connections_refused_total") > 0

            stream.cancel()
            first.channel.close()
            until = time.monotonic() + DEADLINE
            while True:
                try:
                    second.GetUserStatus(presence_pb2.GetUserStatusRequest(user_id=1))
                    break
                except grpc.RpcError as error:
                    assert time.monotonic() < until and reason(error) == "CONNECTION_LIMIT"


def test_calls_that_are_given_up_end_no_other_stream_of_their_channel(server, client, user):
    stream = client.subscribe(filters=[{"user_ids": [user]}])
    stream.next("subscribed")
    question = presence_pb2.BatchGetUserStatusRequest(user_ids=range(1, 10_001))

    for _ in range(50):
        calls = [client.presence.BatchGetUserStatus.future(question) for _ in range(40)]
        for call in calls:
            call.cancel()

    client.user(user)
    with MsgServer(server.pdu) as desk:
        desk.update(user, WINDOWS, ONLINE)
        stream.next("event")
    assert metric(server, 'teamtalk_route_http2_ended_total{reason="enhance_your_calm",scope="connection"}') == 0


def test_a_pdu_over_the_limit_is_logged_with_the_flag_that_sets_it(tmp_path):
    with Server.start(tmp_path, flags=["--max-pdu-bytes=1MiB"]) as server, MsgServer(server.pdu) as msg_server:
        msg_server.statuses(1)
        msg_server.send_bytes(struct.pack(">I", 2 << 20))

        closed = server.logged(lambda line: line["message"] == "link closed", DEADLINE)

    assert "limit of 1048576, which this gateway has set (--max-pdu-bytes)" in str(closed)


@pytest.mark.parametrize(
    "beginning", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(HEARTBEAT)], ids=("grpc", "pdus")
)
def test_who_comes_to_the_probe_port_by_mistake_is_logged(start_server, beginning):
    server = start_server()
    host, port = server.probes.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE) as stranger:
        stranger.sendall(beginning)
        stranger.shutdown(socket.SHUT_WR)

        logged = server.logged(lambda line: line["message"].startswith("the probe port speaks HTTP/1"), DEADLINE)

        assert logged["level"] == "WARN"
        assert logged["peer"] == "%s:%d" % stranger.getsockname()


def ended(connection):
    """Reads the server's HTTP/2 settings, and then nothing but the end."""
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def metric(server, name):
    with direct.open(f"{server.probes}/metrics", timeout=DEADLINE) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
