"""MsgServers at work: connections as real ones keep them, users, and what they were sent.

As the C++ MsgServer: one connection to each RouteServer of its list; on each its users first; the primary is the oldest
live one, and is claimed; status updates go to all, everything else to the primary; what comes is taken from all.

Only the time before it comes back is another one: RETRY, where the C++ one waits 4 s, then 8, 16, 32, 64.
"""

import collections
import itertools
import socket
import threading

from msgserver import (
    HEADER,
    HEARTBEAT,
    MSG_DATA,
    OFFLINE,
    ONLINE,
    ONLINE_USER_INFO,
    ROLE_SET,
    USER_STATUS_UPDATE,
    USERS_STATUS_ANSWER,
    USERS_STATUS_REQUEST,
    WINDOWS,
    frame,
    legacy,
)

DESKTOP_LOGIN_NOTICE = 0x070E
STATUS_NOTICE = 0x0203

# Seconds before a MsgServer comes back.
RETRY = 0.5
# Of the C++ MsgServer: it sends something this often, and gives a connection up on which nothing came for so long.
HEARTBEAT_INTERVAL = 5
IDLE_LIMIT = 30
# For what a test waits for; only a hang meets it.
PATIENCE = 60

_hosts = itertools.count()


def new_address():
    """A machine's that has no other; the client tests have 127.1."""
    high, low = divmod(next(_hosts), 250)
    return f"127.2.{high}.{low + 1}"


class MsgServer:
    """One MsgServer. Its list of RouteServers are routes: names, each with a function that connects from an address."""

    def __init__(self, name, users, routes, address=None):
        self.address = address or new_address()
        self.name = name
        self.users = list(users)
        # (route, why) of each connection that ended by itself, why being "FIN" or an error's name.
        self.ends = []
        # How often each route was connected to.
        self.connects = collections.Counter()
        # What came, in order: (route, message id) by (sender, receiver), and (route, state) by (command, user).
        self.messages = collections.defaultdict(list)
        self.notices = collections.defaultdict(list)
        # Users that an answer called offline.
        self.called_offline = []
        self.answers = 0
        self._connections = []
        self._changed = threading.Condition(threading.RLock())
        self.start(**routes)

    def start(self, **routes):
        """Starts it, for the first time or after `close`, with a list. What it received before is remembered."""
        self.routes = routes
        self._stopped = stopped = threading.Event()
        # They are tried in the order of the list, each for the first time when the one before has been.
        before = threading.Event()
        before.set()
        for name, connect in routes.items():
            tried = threading.Event()
            threading.Thread(target=self._serve, args=(name, connect, stopped, before, tried), daemon=True).start()
            before = tried
        threading.Thread(target=self._keep_alive, args=(stopped,), daemon=True).start()

    @property
    def connected(self):
        """The routes that are connected, the primary first."""
        with self._changed:
            return [connection.route for connection in self._connections]

    @property
    def peers(self):
        """The addresses that it is connected to."""
        with self._changed:
            return [connection.peer for connection in self._connections]

    def wait(self, condition, why):
        """Waits until something holds that depends on what was connected, lost or received."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"{self.name}: never {why}; connected: {self.connected}"

    def wait_until_connected(self):
        """Waits until it has a connection to each RouteServer of its list, and its primary has answered."""
        self.wait(lambda: set(self.routes) == set(self.connected), f"connected to {list(self.routes)}")
        self.settle()

    def send(self, command, body, sequence=0):
        """Sends to the primary; False if there is none."""
        with self._changed:
            return bool(self._connections) and self._connections[0].send(frame(command, body, sequence))

    def update(self, user, status):
        """Logs a desktop client in or out: told to all RouteServers."""
        with self._changed:
            if status == ONLINE:
                self.users.append(user)
            else:
                self.users.remove(user)
            body = legacy("Server").IMUserStatusUpdate(user_status=status, user_id=user, client_type=WINDOWS)
            for connection in self._connections:
                connection.send(frame(USER_STATUS_UPDATE, body.SerializeToString()))

    def ask(self, users):
        """Asks for the status of users; False if there is nobody to ask."""
        question = legacy("Buddy").IMUsersStatReq(user_id=1, user_id_list=users)
        return self.send(USERS_STATUS_REQUEST, question.SerializeToString(), sequence=1)

    def settle(self):
        """Waits for an answer on the primary: what was delivered there before has come."""
        with self._changed:
            expected = self.answers + 1
            assert self.ask([]), f"{self.name} is connected to nobody"
        self.wait(lambda: self.answers >= expected, "answered")

    def assert_told(self, command, user, expected):
        """That notices of a user came as expected: the states, in order, by route."""
        told = self.notices[command, user]
        self.wait(lambda: len(told) >= sum(map(len, expected.values())), f"told {expected} of {user}, but {told}")
        by_route = {route: [state for source, state in told if source == route] for route, _ in told}
        assert by_route == expected, f"{self.name} of {user}"

    def close(self):
        """Ends it, with all its connections."""
        self._stopped.set()
        with self._changed:
            for connection in self._connections:
                connection.shut()
            assert self._changed.wait_for(lambda: not self._connections, PATIENCE)

    def _serve(self, route, connect, stopped, before, tried):
        """Keeps one route connected."""
        before.wait()
        while not stopped.is_set():
            try:
                connection = Connection(route, connect(self.address, PATIENCE))
                self._attach(connection, stopped)
            except OSError:
                stopped.wait(RETRY)
                continue
            finally:
                tried.set()
            why = connection.read_all(self._take)
            with self._changed:
                self._connections.remove(connection)
                connection.close()
                if not stopped.is_set():
                    self.ends.append((route, why))
                    # The next oldest takes its place at once.
                    if self._connections and not self._connections[0].claimed:
                        self._connections[0].claim()
                self._changed.notify_all()
            stopped.wait(RETRY)

    def _attach(self, connection, stopped):
        with self._changed:
            if stopped.is_set():
                connection.shut()
            if not self._connections:
                connection.claim()
            body = legacy("Server").IMOnlineUserInfo()
            for user in self.users:
                body.user_stat_list.add(user_id=user, client_type=WINDOWS, status=ONLINE)
            connection.send(frame(ONLINE_USER_INFO, body.SerializeToString()))
            self._connections.append(connection)
            self.connects[connection.route] += 1
            self._changed.notify_all()

    def _keep_alive(self, stopped):
        while not stopped.wait(HEARTBEAT_INTERVAL):
            with self._changed:
                for connection in self._connections:
                    connection.send(frame(HEARTBEAT))

    def _take(self, route, command, body):
        with self._changed:
            if command == MSG_DATA:
                message = legacy("Message").IMMsgData.FromString(body)
                pair = (message.from_user_id, message.to_session_id)
                self.messages[pair].append((route, message.msg_id))
            elif command == DESKTOP_LOGIN_NOTICE:
                notice = legacy("Server").IMServerPCLoginStatusNotify.FromString(body)
                self.notices[command, notice.user_id].append((route, notice.login_status))
            elif command == STATUS_NOTICE:
                notice = legacy("Buddy").IMUserStatNotify.FromString(body).user_stat
                self.notices[command, notice.user_id].append((route, notice.status))
            elif command == USERS_STATUS_ANSWER:
                answer = legacy("Buddy").IMUsersStatRsp.FromString(body)
                self.called_offline += [it.user_id for it in answer.user_stat_list if it.status == OFFLINE]
                self.answers += 1
            self._changed.notify_all()


class Connection:
    """One connection to one RouteServer."""

    def __init__(self, route, link):
        self.route = route
        self.claimed = False
        self.peer = link.getpeername()[0]
        self._socket = link
        self._socket.settimeout(IDLE_LIMIT)

    def claim(self):
        self.claimed = True
        self.send(frame(ROLE_SET, legacy("Server").IMRoleSet(master=1).SerializeToString()))

    def send(self, data):
        """Whether the kernel took it."""
        try:
            self._socket.sendall(data)
            return True
        except OSError:
            return False

    def read_all(self, take):
        """Hands every PDU on until the connection ends; says how it ended."""
        received = b""
        while True:
            try:
                chunk = self._socket.recv(1 << 16)
            except OSError as error:
                return type(error).__name__
            if not chunk:
                return "FIN"
            received += chunk
            while len(received) >= HEADER.size:
                length, _, _, _, command, _, _ = HEADER.unpack_from(received)
                if len(received) < length:
                    break
                take(self.route, command, received[HEADER.size : length])
                received = received[length:]

    def shut(self):
        """Ends it: its reader is woken, and closes it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself

    def close(self):
        self._socket.close()
