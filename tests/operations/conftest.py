"""What these tests share: the chart as helm renders it, generated stubs, users that no other test has."""

import itertools
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Frames and stubs are those of the client tests, rendering is that of the chart's.
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("clients", "helm")]

import pytest  # noqa: E402
import stubs  # noqa: E402
from msgservers import MsgServer  # noqa: E402
from systemd import Service  # noqa: E402

stubs.generate()


@pytest.fixture
def msgservers():
    """Makes MsgServers with a user each; they are closed at the end."""
    made = []
    users = itertools.count(1001)

    def make(count, **routes):
        new = [MsgServer(f"MsgServer {len(made) + 1 + n}", [next(users)], routes) for n in range(count)]
        made.extend(new)
        return new

    yield make
    for it in made:
        it.close()


@pytest.fixture
def followers():
    """A place for subscribers and watchers; they are closed at the end."""
    made = []
    yield made
    for it in made:
        it.close()


@pytest.fixture
def network():
    """The first three numbers of addresses that nobody else has."""
    return f"127.{random.randrange(16, 250)}.{random.randrange(250)}"


@pytest.fixture
def host(network, tmp_path):
    """Starts units, each on a host of its own."""
    services = []

    def start(name, runs=True, **edits):
        address = f"{network}.{len(services) + 1}"
        edits = {key: value and value.replace("HERE", address) for key, value in edits.items()}
        services.append(Service(name, address, tmp_path / f"{len(services)}.log", **edits))
        if runs:
            services[-1].start()
        return services[-1]

    yield start
    for it in services:
        it.kill()
        # A failed test shows this.
        print(it.log())
