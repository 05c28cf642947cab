"""NATS as `docs/nodes.md` has it set up: three servers, and a user with the least rights."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from chart import ROOT

PROGRAM = pathlib.Path(sys.executable).parent / "nats-server"
# Of the page's addresses, what the test's network takes the place of.
PAGE_NETWORK = "10.0.0"
SERVERS = 3


class Nats:
    """Three servers, each on an address of its own; ended, and their files removed, by `close`."""

    def __init__(self, network):
        [configuration] = re.findall(r"^```\n(# nats-server\.conf.*?)^```", (ROOT / "docs/nodes.md").read_text(), re.M | re.S)
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="nats-"))
        self._processes = [self._started(number, configuration.replace(PAGE_NETWORK, network)) for number in range(1, SERVERS + 1)]
        [self.user] = re.findall(r"user: (\w+)", configuration)
        [password] = re.findall(r"password: (\w+)", configuration)
        self.password_file = self._folder / "password"
        self.password_file.write_text(password)

    def log(self):
        return "".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self._folder)

    def _started(self, number, configuration):
        """The first's configuration is on the page; the others have their own names and addresses."""
        own = re.sub(r"^(\s*listen: [\d.]+)1:", rf"\g<1>{number}:", configuration, flags=re.M)
        own = own.replace("nats-1", f"nats-{number}").replace("/var/lib/nats", str(self._folder / f"store-{number}"))
        file = self._folder / f"{number}.conf"
        file.write_text(own)
        with (self._folder / f"{number}.log").open("w") as output:
            return subprocess.Popen([PROGRAM, "--config", file], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
