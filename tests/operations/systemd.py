"""A unit on a plain host, run as systemd runs it: ExecStart, EnvironmentFile, Restart, TimeoutStopSec.

What is different: instead of a host of its own it has an address of its own, which takes the place of the wildcard
address; and a gateway is told its id, which it would make of the host's name. Binaries are those under test.
"""

import configparser
import re
import shlex
import signal
import subprocess
import threading
import time

from binaries import binary
from chart import ROOT

UNITS = ROOT / "docs" / "systemd"
INSTALLED = "/usr/local/bin/"
# For a process that is started again.
PATIENCE = 60


class Service:
    """One unit on one host. `edits` are settings that the operator writes into its file."""

    def __init__(self, name, address, log, **edits):
        unit = configparser.ConfigParser(interpolation=None, strict=False, delimiters="=")
        unit.optionxform = str
        unit.read(UNITS / f"{name}.service")
        self.unit = unit["Service"]
        self.address = address
        # Exit codes, and whether each end was asked for.
        self.ends = []
        self._log = log
        self._command = command(self.unit["ExecStart"])
        self._file = UNITS / f"{name}.env"
        self.edit(**edits)
        self._stopping = False
        self._process = None
        self._watcher = None

    def edit(self, **edits):
        """What the operator writes into the file as it is delivered; counts from the next start on."""
        self.environment = {
            **settings(self._file.read_text(), self.address, edits),
            "TT_GATEWAY_GATEWAY_ID": f"{self.address}:8200",
        }

    @property
    def pid(self):
        return self._process.pid

    def log(self):
        return self._log.read_text(errors="replace")

    def start(self):
        """`systemctl start`."""
        self._stopping = False
        self._run()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def stop(self):
        """`systemctl stop`; returns the exit code, and how long it took."""
        began = time.monotonic()
        self._stopping = True
        process = self._process
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(float(self.unit["TimeoutStopSec"]))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._watcher.join()
        return code, time.monotonic() - began

    def restart(self):
        """`systemctl restart`."""
        code, _ = self.stop()
        self.start()
        return code

    def kill(self):
        """The test is over."""
        self._stopping = True
        if self._process:
            self._process.kill()
            self._watcher.join()

    def _run(self):
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                self._command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _watch(self):
        """Restart=always."""
        assert self.unit["Restart"] == "always"
        while True:
            self.ends.append(self._process.wait())
            if self._stopping:
                return
            time.sleep(float(self.unit["RestartSec"]))
            self._run()


def command(exec_start):
    program, *arguments = shlex.split(exec_start)
    assert program.startswith(INSTALLED), exec_start
    return [str(binary(program.removeprefix(INSTALLED))), *arguments]


def settings(text, address, edits):
    """The lines of an environment file as the operator has edited it, with this host's address."""
    for name, value in edits.items():
        # Commented lines are there to be used; None puts one out of use.
        text, found = re.subn(rf"^#?{name}=.*", f"{name}={value}" if value else "", text, flags=re.MULTILINE)
        assert found == 1, f"{name} has no line"
    lines = [line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value.replace("0.0.0.0:", f"{address}:") for name, value in lines}
