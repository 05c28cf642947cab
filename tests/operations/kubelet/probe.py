"""Asks a probe, as the kubelet does: in plain text, at the pod's address, anew each time."""

import http.client

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

OPTIONS = [
    # A proxy in the environment is not for this machine's own addresses.
    ("grpc.enable_http_proxy", 0),
    # Else a connection that failed before, and its back-off, would be shared.
    ("grpc.use_local_subchannel_pool", 1),
]


def ask(probe, address):
    """Why it failed; None if it did not."""
    if probe.grpc:
        return ask_grpc(f"{address}:{probe.grpc['port']}", probe.grpc.get("service", ""), probe.timeout)
    return ask_http(address, probe.http["port"], probe.http["path"], probe.timeout)


def ask_grpc(target, service, timeout):
    with grpc.insecure_channel(target, OPTIONS) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return None if serving else health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def ask_http(address, port, path, timeout):
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"User-Agent": "kube-probe/1.36", "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    return None if 200 <= answer.status < 400 else f"{answer.status} {body}"
