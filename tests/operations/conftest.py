"""What these tests share: the chart as helm renders it, generated stubs, users that no other test has."""

import itertools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Frames and stubs are those of the client tests, rendering is that of the chart's.
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("clients", "helm")]

import pytest  # noqa: E402
import stubs  # noqa: E402
from msgservers import MsgServer  # noqa: E402

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
