"""A network of hosts. Each host is a namespace with a cable to a router; a router can lose what it should pass on, and
can stand between some hosts and the others with one address for all of them.

Nothing of it can be reached from outside, so each network may have the same addresses.
"""

import itertools
import os
import subprocess

_numbers = itertools.count()


class Namespace:
    """One of the kernel's, made with an address of its own for nothing but itself."""

    def __init__(self, name):
        self.name = name
        try:
            self._create()
        except BaseException:
            self.close()
            raise

    def command(self, *words):
        """A command that runs in it."""
        return ["ip", "netns", "exec", self._kernel_name, *words]

    def ip(self, *words):
        run("ip", "-n", self._kernel_name, *words)

    def iptables(self, *words):
        run(*self.command("iptables", "-w", *words))

    def close(self):
        run("ip", "netns", "delete", self._kernel_name)

    def _create(self):
        self._kernel_name = f"tt{os.getpid()}-{next(_numbers)}-{self.name}"
        run("ip", "netns", "add", self._kernel_name)
        self.ip("link", "set", "dev", "lo", "up")


class Router(Namespace):
    """Passes on between its hosts."""

    # What its hosts call it.
    GATE = "169.254.1.1"

    def _create(self):
        super()._create()
        run(*self.command("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
        # A host that is gone does not answer, and nobody says so in its place.
        self.ip("route", "add", "blackhole", "default", "metric", "4000")

    def lose(self, sender, receiver):
        """From now on nothing of this sender reaches this receiver."""
        self.iptables("-I", "FORWARD", *between(sender, receiver), "-j", "DROP")

    def cut(self, one, other):
        self.lose(one, other)
        self.lose(other, one)

    def heal(self):
        """Everything gets through again."""
        self.iptables("-F", "FORWARD")

    def plug(self, host, address):
        """Lays a cable, and sends along it what is for this address."""
        host.ip("link", "add", "eth0", "type", "veth", "peer", "name", host.name, "netns", self._kernel_name)
        self.ip("address", "add", f"{self.GATE}/32", "dev", host.name)
        self.ip("link", "set", "dev", host.name, "up")
        self.ip("route", "add", f"{address}/32", "dev", host.name)

    def unplug(self, host):
        """Takes the cable away, in the middle of everything."""
        self.ip("link", "delete", "dev", host.name)

    def reroute(self, host, old, new):
        """One that has the old address, if anybody, is elsewhere: nothing of it arrives here, or gets there."""
        self.ip("route", "delete", f"{old}/32", "dev", host.name)
        self.iptables("-I", "FORWARD", "-s", old, "-j", "DROP")
        self.ip("route", "add", f"{new}/32", "dev", host.name)


class Host(Namespace):
    """Has one address, and one cable."""

    def __init__(self, name, address, router):
        self.address = address
        self.router = router
        super().__init__(name)

    def _create(self):
        super()._create()
        self._plug()

    def lose_power(self):
        """Nothing is sent any more, and nothing is left of its connections. Its processes are the caller's."""
        self.router.unplug(self)

    def power_on(self, address=None):
        """It is another kernel that starts, at another address if so said."""
        self.close()
        self.address = address or self.address
        self._create()

    def _plug(self):
        self.router.plug(self, self.address)
        self.ip("address", "add", f"{self.address}/32", "dev", "eth0")
        self.ip("link", "set", "dev", "eth0", "up")
        self.ip("route", "add", self.router.GATE, "dev", "eth0")
        self.ip("route", "add", "default", "via", self.router.GATE, "dev", "eth0", "src", self.address)


class Nat(Host, Router):
    """Stands between its hosts and a router: there, all of them have its address."""

    GATE = "169.254.1.2"

    def _create(self):
        Router._create(self)
        self._plug()
        self.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")

    def change_address(self, address):
        """It forgets what it has translated with the old one: what comes of such connections is as of new ones."""
        self.ip("address", "add", f"{address}/32", "dev", "eth0")
        self.ip("route", "replace", "default", "via", self.router.GATE, "dev", "eth0", "src", address)
        self.ip("address", "delete", f"{self.address}/32", "dev", "eth0")
        self.router.reroute(self, self.address, address)
        self.address = address


def between(sender, receiver):
    return ("-s", sender.address, "-d", receiver.address)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
