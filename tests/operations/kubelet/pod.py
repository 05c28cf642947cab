"""The life of a pod on its kubelet: a container, its probes, restarts, the end.

As the kubelet does it: liveness and readiness are asked once the startup probe has succeeded; a container that fails
its startup or liveness probe is ended like one that is deleted, with preStop and grace, and started again; readiness
is asked until the end.
"""

import queue
import signal
import subprocess
import threading
import time

from .probe import ask

# What is left of the grace period after preStop, at least.
LEAST_GRACE = 2
# Before a container's second restart; the first one is at once. Doubled each time.
BACK_OFF = 10


class Pod:
    """One pod. In the journal it is created, started, started up, ready, unready, in endpoints, out of endpoints,
    killing, exited, gone; also noted are "probe failed", "SIGTERM" and "SIGKILL"."""

    def __init__(self, name, manifest, here, journal, folder, room):
        self.name = name
        self.manifest = manifest
        self.address = here.address
        self.terminating = False
        self.is_gone = False
        # Since when it has been ready, if it is.
        self.ready_since = None
        # Set once a machine has room for it, and its image.
        self._room = room
        self._journal = journal
        self._log = folder / f"{name}.log"
        self._inbox = queue.SimpleQueue()
        self._in_endpoints = False
        self._state = threading.Lock()
        self._process = None
        self._command, self._environment = manifest.process(here)
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._note("created")
        self._thread.start()

    @property
    def is_ready(self):
        return self.ready_since is not None

    @property
    def pid(self):
        """Of the running container."""
        return self._process.pid

    def log(self):
        return self._log.read_text(errors="replace") if self._log.exists() else "it has never run"

    def delete(self):
        """Asks for the pod's end: no more new connections, preStop, SIGTERM, and SIGKILL after the grace period."""
        with self._state:
            self.terminating = True
            self._publish()
        self._inbox.put(("kill", "deleted", None))
        self._room.set()

    def destroy(self):
        """Ends the process, whatever it does: the test is over."""
        with self._state:
            self.terminating = True
        self._inbox.put(("kill", "deleted", 0))
        self._room.set()
        if self._process:
            self._process.kill()
        self._thread.join()

    def _live(self):
        self._room.wait()
        restarts = 0
        while not self.terminating:
            if restarts > 1:
                time.sleep(BACK_OFF * 2 ** (restarts - 2))
            self._run_container()
            restarts += 1
        self.is_gone = True
        self._note("gone")

    def _run_container(self):
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._note("started", self._process.pid)
        container = Container(self._process, self._inbox)
        probes = [
            threading.Thread(target=self._probe, args=(probe, container), daemon=True)
            for probe in self.manifest.probes.values()
        ]
        for thread in (*probes, threading.Thread(target=container.wait, daemon=True)):
            thread.start()

        what, why, grace = self._inbox.get()
        if what == "kill":
            self._kill(container, why, grace)
        container.ended.wait()
        for probe in probes:
            probe.join()
        self._set_ready(False)
        # What still stands there is about this container.
        while not self._inbox.empty():
            self._inbox.get()
        self._note("exited", self._process.returncode)

    def _kill(self, container, why, grace):
        self._note("killing", why)
        grace = self.manifest.grace if grace is None else grace
        deadline = time.monotonic() + grace
        container.ended.wait(min(self.manifest.pre_stop, grace))
        self._note("SIGTERM")
        self._process.send_signal(signal.SIGTERM)
        least = 0 if grace == 0 else LEAST_GRACE
        if not container.ended.wait(max(deadline - time.monotonic(), least)):
            self._note("SIGKILL")
            self._process.kill()

    def _probe(self, probe, container):
        """Asks one probe of one container until that ends."""
        if probe.kind != "startup":
            container.started_up.wait()
        failures = 0
        due = time.monotonic() + probe.delay
        while not container.ended.wait(max(due - time.monotonic(), 0)):
            due = max(due + probe.period, time.monotonic())
            if probe.kind != "readiness" and self.terminating:
                return
            failure = ask(probe, self.address)
            if container.ended.is_set():
                return
            failures = failures + 1 if failure else 0
            if failure:
                self._note("probe failed", f"{probe.kind} {failure}")
            if probe.kind == "startup" and not failure:
                self._note("started up")
                container.started_up.set()
                return
            if probe.kind == "readiness" and not failure:
                self._set_ready(True)
            if failures >= probe.failures:
                if probe.kind == "readiness":
                    self._set_ready(False)
                else:
                    self._inbox.put(("kill", f"{probe.kind} probe failed", probe.grace))
                    return

    def _set_ready(self, ready):
        with self._state:
            if ready == self.is_ready:
                return
            self.ready_since = time.monotonic() if ready else None
            self._note("ready" if ready else "unready")
            self._publish()

    def _publish(self):
        """Notes whether Services send connections here. Called with the state's lock."""
        is_endpoint = self.is_ready and not self.terminating
        if is_endpoint != self._in_endpoints:
            self._in_endpoints = is_endpoint
            self._note("in endpoints" if is_endpoint else "out of endpoints")

    def _note(self, what, detail=None):
        self._journal.note(self.name, what, detail)


class Container:
    """One run of a pod's process."""

    def __init__(self, process, inbox):
        self.ended = threading.Event()
        self.started_up = threading.Event()
        self._process = process
        self._inbox = inbox

    def wait(self):
        """Tells the pod when it ends."""
        code = self._process.wait()
        self.ended.set()
        # So that probes that wait for it go on, and end.
        self.started_up.set()
        self._inbox.put(("exit", code, None))
