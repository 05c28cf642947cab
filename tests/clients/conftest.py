"""What the client tests share: generated stubs, a running server, users that no other test has."""

import itertools
import pathlib
import subprocess
import sys
import tempfile

import pytest

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Stubs live as long as the test run.
_stubs = tempfile.TemporaryDirectory(prefix="route-stubs-")


def pytest_configure():
    """Generates stubs before the test files import them, from the .proto files alone."""
    generate(ROOT / "proto", "teamtalk/route/v1/*.proto", grpc=True)
    generate(ROOT / "proto" / "legacy", "IM.*.proto", grpc=False)
    sys.path.insert(0, _stubs.name)


def generate(include, pattern, grpc):
    files = sorted(str(file.relative_to(include)) for file in include.glob(pattern))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", f"--python_out={_stubs.name}"]
    if grpc:
        command.append(f"--grpc_python_out={_stubs.name}")
    subprocess.run(command + files, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An embedded server that most tests share."""
    with Server.start(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server):
    """A connection to it."""
    # Its stubs are not there before `pytest_configure`.
    from client import Client

    client = Client(server)
    yield client
    client.channel.close()


@pytest.fixture
def start_server(tmp_path_factory):
    """Starts servers of the test's own; what still runs at its end is stopped."""
    started = []

    def start():
        started.append(Server.start(tmp_path_factory.mktemp("server")))
        return started[-1]

    yield start
    for server in started:
        server.close()


_user_ids = itertools.count(1000)


@pytest.fixture
def user():
    """A user id that nobody else uses."""
    return next(_user_ids)


@pytest.fixture
def other_user():
    """Another one."""
    return next(_user_ids)
