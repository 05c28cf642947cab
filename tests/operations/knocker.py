"""Somebody who opens connections all the time, to find out from when on they are refused."""

import socket
import threading
import time

# Between two connections.
INTERVAL = 0.05
PATIENCE = 60


class Knocker:
    """Opens a connection, closes it, and again, until one is refused."""

    def __init__(self, address, port):
        self._target = (address, port)
        self._accepted = []
        self._refused_at = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)

    @property
    def refused_at(self):
        """Waits for the first refusal."""
        self._thread.join(PATIENCE)
        assert self._refused_at, "no connection was refused"
        return self._refused_at

    def accepted_between(self, begin, end):
        """How many connections were taken then."""
        return sum(begin < at < end for at in self._accepted)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        self._thread.join()

    def _knock(self):
        while not self._closed.wait(INTERVAL):
            try:
                socket.create_connection(self._target, PATIENCE).close()
                self._accepted.append(time.monotonic())
            except OSError:
                self._refused_at = time.monotonic()
                return
