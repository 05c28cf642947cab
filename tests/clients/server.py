"""An embedded server as a child process, on ports of its own."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import grpc

# The folder of the binaries to test.
FOLDER_VARIABLE = "TEST_BIN_DIR"
DEFAULT_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "target" / "debug"

# How long the server may take to get ready, and to stop when nothing holds it up.
START_LIMIT = 20
STOP_LIMIT = 15
# A process outside has no event for readiness: it is asked.
READY_POLL = 0.02
LOG_POLL = 0.2

# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(12_000, 32_000)
# Another process may take a port between its choice and its use.
START_ATTEMPTS = 3


class Server:
    """A running `pdu-gateway --embedded`."""

    @classmethod
    def start(cls, folder, hosts=("127.0.0.1",), run_by=(), flags=()):
        """Starts one and waits until it is ready. It logs into `folder`, listens for MsgServers on all `hosts`."""
        for attempt in range(START_ATTEMPTS):
            server = cls(folder / f"{attempt}.log", hosts, run_by, flags)
            if server._wait_until_ready():
                return server
            server._process.kill()
            server._process.wait()
        raise AssertionError(f"the server does not get ready:\n{server.log()}")

    def __init__(self, log, hosts, run_by, flags):
        binary = pathlib.Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER)) / "pdu-gateway"
        self.pdu, grpc_port, probes = ((hosts[0], port) for port in free_ports(3))
        self.grpc = "%s:%d" % grpc_port
        self.probes = "http://%s:%d" % probes
        self._log = log
        self._killed = False
        command = [
            *run_by,
            str(binary),
            "--embedded",
            *("--listen=%s:%d" % (host, self.pdu[1]) for host in hosts),
            f"--grpc-listen={self.grpc}",
            "--probe-listen=%s:%d" % probes,
            *flags,
        ]
        # The settings of whoever runs the tests are not part of them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TT_")}
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )

    def channel(self):
        """A new gRPC connection to it."""
        # A proxy in the environment is not for this machine's own addresses.
        return grpc.insecure_channel(self.grpc, options=[("grpc.enable_http_proxy", 0)])

    def terminate(self):
        """Asks it to drain, as a service manager does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self):
        """Ends it as a crash does, and waits until its port is free."""
        self._process.kill()
        self._process.wait()
        self._killed = True

    def wait(self):
        """Waits for its end and returns its exit code."""
        return self._process.wait(STOP_LIMIT)

    def log(self):
        return self._log.read_text(errors="replace")

    def logged(self, matches, within):
        """Waits for a line of its log, which is JSON, that matches."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            # What follows the last line break is half written.
            for line in self.log().split("\n")[:-1]:
                if matches(line := json.loads(line)):
                    return line
            time.sleep(LOG_POLL)
        raise AssertionError(f"not logged within {within} s:\n{self.log()}")

    def close(self):
        """Stops it, if it runs; prints what it said, which a failed test shows."""
        try:
            if self._process.poll() is None:
                self.terminate()
            code = self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        print(self.log())
        assert code == 0 or self._killed, f"exit code {code}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_LIMIT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with direct.open(f"{self.probes}/readyz", timeout=1):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(READY_POLL)
        return False


direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs without a proxy."""


def free_ports(count):
    """Distinct ports on which nobody listens."""
    found = []
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
