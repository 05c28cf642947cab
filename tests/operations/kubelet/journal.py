"""What happened to pods, in order: the kubelet's events, which tests wait for."""

import dataclasses
import threading
import time

# For anything that a test waits for: longer than any of it takes, so that only a hang meets it.
PATIENCE = 90


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened."""

    at: float
    pod: str
    what: str
    detail: object = None

    def __str__(self):
        return f"{self.at:10.3f} {self.pod} {self.what}" + ("" if self.detail is None else f": {self.detail}")


class Journal:
    """All of it, from all threads."""

    def __init__(self):
        self._events = []
        self._changed = threading.Condition(threading.RLock())

    def note(self, pod, what, detail=None):
        with self._changed:
            self._events.append(Event(time.monotonic(), pod, what, detail))
            self._changed.notify_all()

    def of(self, what, pod=None):
        """All events of a kind so far; of one pod, or of all."""
        with self._changed:
            return [it for it in self._events if it.what == what and pod in (None, it.pod)]

    def wait(self, what, pod=None, count=1):
        """Waits for so many events of a kind; returns the last of them."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.of(what, pod)) >= count, PATIENCE)
            assert arrived, f"{pod or 'nobody'} was not {what}:\n{self}"
            return self.of(what, pod)[count - 1]

    def wait_for_news(self, timeout):
        """Waits until something is noted, or for so long."""
        with self._changed:
            self._changed.wait(timeout)

    def wait_until(self, condition, why):
        """Waits until a condition holds that depends on what is noted here."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"never {why}:\n{self}"

    def __str__(self):
        return "\n".join(map(str, self._events))
