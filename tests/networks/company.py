"""A company's site: a node, two gateways, MsgServers of which two are behind one address, a new service that asks who
is online; and the journal of all that its MsgServers wrote."""

import json
import random
import threading
import time

from binaries import binary
from msgserver import ONLINE
from hosts import Host, Nat, Router
from programs import Played, Program

# Who is a MsgServer: the gateway of its first connection, and its host's address. The last two are behind a NAT.
MSG_SERVERS = {
    "a": ("one", "10.0.0.31"),
    "b": ("two", "10.0.0.32"),
    "c": ("one", "10.0.0.33"),
    "d": ("one", "192.168.0.34"),
    "e": ("two", "192.168.0.35"),
}
BEHIND_NAT = ("d", "e")
OTHER_ADDRESS = {"a": "10.0.0.131"}
NAT_ADDRESSES = ("10.0.0.40", "10.0.0.140")
NODE = "10.0.0.10"
GATEWAYS = {"one": "10.0.0.11", "two": "10.0.0.12"}
SERVICE = "10.0.0.20"

PDU_PORT = 8200
GRPC_PORT = 50051

# Users of each MsgServer who send and receive messages. One more, its guest, is sometimes not there; another one, its
# rover, is now here and now at another MsgServer.
RESIDENTS = 4
# Clients come back to a MsgServer that has started within so many seconds.
COME_BACK_WITHIN = 1.0

# For what has no time of its own; only a hang meets it.
PATIENCE = 60
POLL = 0.1


class Company:
    """`named`: whether gateways are told which MsgServer is which."""

    def __init__(self, folder, fan_out, named):
        self.fan_out = fan_out
        self.named = named
        self.folder = folder
        # (time, MsgServer, its life, kind, …) of everything that was written, in the order in which it came.
        self.journal = []
        # Where each user should be by what was done: the name of a MsgServer.
        self.homes = {}
        # Users that vanished with their MsgServer, of which nobody is told until they come again.
        self.vanished = set()
        self.changed = threading.Condition()
        self._hosts = []
        self._programs = []
        self._logins = 0
        self._asked = 0
        self._answers = {}
        self._logged_in = set()
        self._chance = random.Random(1)

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for program in [*self._programs, *(it.program for it in getattr(self, "msg_servers", {}).values())]:
            program.kill()
        for host in reversed(self._hosts):
            host.close()
        (self.folder / "journal").write_text("".join(f"{entry}\n" for entry in self.journal))

    def residents(self, name):
        first = 1000 + 100 * list(MSG_SERVERS).index(name)
        return list(range(first, first + RESIDENTS))

    def guest(self, name):
        return self.residents(name)[-1] + 1

    def rover(self, name):
        return self.guest(name) + 1

    def users(self):
        return [user for name in MSG_SERVERS for user in [*self.residents(name), self.guest(name), self.rover(name)]]

    def login(self, user, name):
        """A client logs in, if the MsgServer has a connection; where it was, it is kicked."""
        self._logins += 1
        number = self._logins
        self.homes[user] = name
        self.vanished.discard(user)
        self.msg_servers[name].tell("login", user, number)
        self.wait(lambda: number in self._logged_in, f"logged in user {user} at {name}")

    def logout(self, user):
        self.msg_servers[self.homes.pop(user)].tell("logout", user)

    def kill(self, *names):
        """The processes; their users are nowhere."""
        for name in names:
            self.msg_servers[name].program.kill()
            self.vanished |= {user for user, home in self.homes.items() if home == name}
            self.homes = {user: home for user, home in self.homes.items() if home != name}

    def come_back(self, *names):
        """Fresh processes, to which their residents come one by one."""
        for name in names:
            self.msg_servers[name].start()
        logins = [(user, name) for name in names for user in self.residents(name)]
        self._chance.shuffle(logins)
        for user, name in logins:
            time.sleep(COME_BACK_WITHIN / len(logins) * self._chance.random() * 2)
            self.login(user, name)

    def lose_power(self, *names):
        """Their hosts are gone, and nobody is told."""
        for name in names:
            self.msg_servers[name].host.lose_power()
        self.kill(*names)

    def power_on(self, *names, address=None):
        """Their hosts are there again, with fresh MsgServers."""
        for name in names:
            self.msg_servers[name].host.power_on(address)
        self.come_back(*names)

    def assert_servers_are_alive(self):
        for program in self._programs:
            assert program.is_alive(), program.name

    def chat(self, *names):
        """These MsgServers send messages from now on: from each resident to residents of all others."""
        for name in names or MSG_SERVERS:
            others = [it for it in MSG_SERVERS if it != name]
            mine = self.residents(name)
            pairs = [(user, self.residents(other)[n % RESIDENTS]) for n, user in enumerate(mine) for other in others]
            self.msg_servers[name].tell("chat", pairs)

    def be_quiet(self):
        """Nobody sends messages any more. Returns when."""
        for it in self.msg_servers.values():
            it.tell("chat", [])
        return time.monotonic()

    def wait(self, condition, why, patience=PATIENCE):
        with self.changed:
            assert self.changed.wait_for(condition, patience), f"never {why}"

    def written(self, kind, name=None):
        """What was written of this kind so far, by one MsgServer or all."""
        with self.changed:
            return [it for it in self.journal if it[3] == kind and name in (None, it[1])]

    def take(self, entry):
        """Something was written."""
        with self.changed:
            self.journal.append(entry)
            _, _, _, kind, *what = entry
            if kind == "answer":
                number, statuses = what
                self._answers[number] = {user for user, status in statuses if status == ONLINE}
            elif kind == "login":
                self._logged_in.add(what[1])
            self.changed.notify_all()

    def ask(self, name):
        """The answer to one MsgServer: who is online, or None if none has come within a second."""
        self._asked += 1
        number = self._asked
        try:
            self.msg_servers[name].tell("ask", self.users(), number)
        except OSError:
            return None
        with self.changed:
            self.changed.wait_for(lambda: number in self._answers, 1)
            return self._answers.get(number)

    def ask_service(self):
        """Who is online according to the API."""
        with self._service_changed:
            before = len(self._service_answers)
            self._service.tell_all(self.users())
            assert self._service_changed.wait_for(lambda: len(self._service_answers) > before, PATIENCE)
            return set(self._service_answers[-1])

    def _build(self):
        self.router = self._add(Router("router"))
        self.node = self._add(Host("node", NODE, self.router))
        self.gateways = {name: self._add(Host(f"gateway-{name}", it, self.router)) for name, it in GATEWAYS.items()}
        self.nat = self._add(Nat("nat", NAT_ADDRESSES[0], self.router))
        self._start_servers()
        self._start_service()
        self.msg_servers = {}
        for name, (first, address) in MSG_SERVERS.items():
            host = self._add(Host(name, address, self.nat if name in BEHIND_NAT else self.router))
            self.msg_servers[name] = MsgServer(self, name, host, sorted(GATEWAYS, key=lambda it: it != first))
        self._let_all_come()

    def _add(self, host):
        self._hosts.append(host)
        return host

    def _start_servers(self):
        node = ["serve", f"--listen={NODE}:{GRPC_PORT}", "--insecure", f"--fan-out={self.fan_out}", "--log-format=json"]
        self._run(self.node, binary("route-grpc"), *node)
        for name, host in self.gateways.items():
            flags = [f"--gateway-id={name}", f"--upstream=http://{NODE}:{GRPC_PORT}", "--log-format=json"]
            self._run(host, binary("pdu-gateway"), *flags, *self._listeners(host), *self._names())

    def _listeners(self, host):
        yield f"--listen={host.address}:{PDU_PORT}"
        for name in BEHIND_NAT if self.named else ():
            yield f"--listen={host.address}:{self.port(name)}={name}"

    def _names(self):
        for name, (_, address) in MSG_SERVERS.items() if self.named else ():
            if name not in BEHIND_NAT:
                yield "--msg-server=" + name + "=" + ",".join(filter(None, [address, OTHER_ADDRESS.get(name)]))

    def port(self, name):
        """Those behind one address are told apart by where they connect to."""
        return PDU_PORT + 1 + BEHIND_NAT.index(name) if self.named and name in BEHIND_NAT else PDU_PORT

    def _run(self, host, *command):
        self._programs.append(Program(host, self.folder / f"{host.name}.log", *command))

    def _start_service(self):
        self._service_answers = []
        self._service_changed = threading.Condition()
        host = self._add(Host("service", SERVICE, self.router))

        def take(answer):
            with self._service_changed:
                self._service_answers.append(answer)
                self._service_changed.notify_all()

        log = self.folder / "service.log"
        self._service = Played(host, log, take, "played_service", f"{NODE}:{GRPC_PORT}")
        self._programs.append(self._service)

    def _let_all_come(self):
        for name, it in self.msg_servers.items():
            it.start()
            self.wait(lambda it=it, name=name: len(self.written("connected", name)) == 2, f"connected {name}")
        for name in MSG_SERVERS:
            for user in [*self.residents(name), self.guest(name), self.rover(name)]:
                self.login(user, name)
        everybody = set(self.users())
        deadline = time.monotonic() + PATIENCE
        while any(self.ask(name) != everybody for name in MSG_SERVERS):
            assert time.monotonic() < deadline, "not everybody could log in"
            time.sleep(POLL)
        # What they hold is what they were told from here on.
        with self.changed:
            self.journal.clear()


class MsgServer:
    """One, through all its lives."""

    def __init__(self, company, name, host, routes):
        self.name = name
        self.host = host
        self.life = 0
        self._company = company
        self._routes = routes

    def start(self):
        self.life = life = self.life + 1
        port = self._company.port(self.name)
        settings = {
            "routes": {name: (GATEWAYS[name], port) for name in self._routes},
            "users": [],
            "first": life * 1_000_000 + 1,
        }
        log = self._company.folder / f"{self.name}.log"
        self.program = Played(
            self.host, log, lambda it: self._take(life, it), "played_msgserver", json.dumps(settings)
        )

    def tell(self, *words):
        self.program.tell(*words)

    def _take(self, life, written):
        company = self._company
        company.take((written[0], self.name, life, *written[1:]))
