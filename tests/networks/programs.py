"""Programs that run on hosts: the ones under test, and those that are played."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import stubs

FOLDER = pathlib.Path(__file__).resolve().parent


class Program:
    """A process on a host, which logs into a file."""

    def __init__(self, host, log, *command):
        self.name = host.name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                host.command(*map(str, command)),
                stdin=subprocess.PIPE,
                stdout=self._output(output),
                stderr=output,
                env=environment(),
            )

    def is_alive(self):
        return self._process.poll() is None

    @contextlib.contextmanager
    def stands_still(self):
        """Inside, it does not run. Its kernel does."""
        self._process.send_signal(signal.SIGSTOP)
        yield
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        """By SIGKILL: the kernel closes what it has open."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def _output(self, log):
        return log


class Played(Program):
    """Is told what to do by lines of JSON; what it writes is handed to `take`, line by line."""

    def __init__(self, host, log, take, name, *arguments):
        super().__init__(host, log, sys.executable, "-B", FOLDER / f"{name}.py", *arguments)
        self._reader = threading.Thread(target=self._read, args=(take,), daemon=True)
        self._reader.start()

    def tell(self, *words):
        self.tell_all(words)

    def tell_all(self, words):
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()

    def kill(self):
        super().kill()
        self._reader.join()

    def _output(self, _log):
        return subprocess.PIPE

    def _read(self, take):
        for line in self._process.stdout:
            # The last one may have been cut off.
            if line.endswith(b"\n"):
                take(json.loads(line))


def environment():
    """Without the settings of whoever runs the tests; with generated code to be found."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TT_")}
    return {**own, "PYTHONPATH": stubs.folder()}
