"""Connections that say nothing, to ports that share the file descriptors of one process."""

import socket

from client import DEADLINE, Client
from msgserver import OFFLINE, MsgServer
from server import Server, direct

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
        client.watch().snapshot()
        client.channel.close()


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
    with direct.open(f"{server.admin}/metrics", timeout=DEADLINE) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
