"""What the client tests share: generated stubs, a running server, users that no other test has."""

import itertools

import pytest
import stubs

from server import Server


def pytest_configure():
    """Generates stubs before the test files import them."""
    stubs.generate()


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
