"""A network of its own for a server, so that a host can vanish: packets to it are sent, and nothing ever comes back."""

import itertools
import os
import subprocess

_numbers = itertools.count()


class NoNetwork(Exception):
    """This machine, or this user, cannot make one."""


class Network:
    """A namespace with two addresses, and a cable from here to it. `run_in` is what a command in it begins with."""

    def __init__(self):
        number = next(_numbers)
        self._name = f"route-{os.getpid()}-{number}"
        self.run_in = ["ip", "netns", "exec", self._name]
        # Nobody else's: from the block for benchmarks of networks, by process.
        net = f"198.18.{os.getpid() % 250}.{number * 16 % 240}"
        base = net.rsplit(".", 1)
        here, self.address, self.other_address = (f"{base[0]}.{int(base[1]) + host}" for host in (1, 2, 3))
        self.network = f"{net}/28"
        cable = (f"rt{os.getpid() % 100000}a{number}", f"rt{os.getpid() % 100000}b{number}")
        try:
            ip("netns", "add", self._name)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoNetwork(f"no network namespaces here: {getattr(error, 'stderr', '') or error}") from error
        try:
            ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1], "netns", self._name)
            ip("address", "add", f"{here}/28", "dev", cable[0])
            ip("link", "set", cable[0], "up")
            for address in (self.address, self.other_address):
                ip("-n", self._name, "address", "add", f"{address}/28", "dev", cable[1])
            for device in ("lo", cable[1]):
                ip("-n", self._name, "link", "set", device, "up")
        except BaseException:
            self.close()
            raise

    def vanish(self):
        """From now on nothing from here reaches `address`: to those there, their peers' host has vanished."""
        ip("route", "add", "blackhole", f"{self.address}/32")

    def close(self):
        """The cable goes with the namespace."""
        subprocess.run(["ip", "route", "delete", "blackhole", f"{self.address}/32"], stderr=subprocess.DEVNULL)
        ip("netns", "delete", self._name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
