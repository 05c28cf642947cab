"""The program that plays a MsgServer on its host, until it is killed. It is told what to do by lines of JSON, and
writes what happens, with the time, as lines of JSON: what is not written has not happened.

    played_msgserver.py '{"routes": {"one": ["10.0.0.11", 8200], …}, "users": [1001, …], "first": 1}'

A login is made as a real MsgServer makes it: others shall kick the user (to the primary), then the update (to all).
Numbers tell logins and messages apart; those of messages begin with `first`.
"""

import itertools
import json
import os
import pathlib
import socket
import sys
import threading
import time

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent / name) for name in ("clients", "operations")]

from msgserver import MSG_DATA, OFFLINE, ONLINE, USERS_STATUS_ANSWER, USERS_STATUS_REQUEST, WINDOWS, chat_body, legacy  # noqa: E402
from msgservers import STATUS_NOTICE, MsgServer  # noqa: E402

KICK_USER = 0x070D

CONNECT_LIMIT = 3
# A real MsgServer keeps what the kernel does not take. Here the kernel takes all that is sent while a network is cut.
SEND_BUFFER = 8 << 20
SO_SNDBUFFORCE = 32

# Seconds between two messages.
PACE = 0.05


class Played(MsgServer):
    """Does what it is told, and writes what happens."""

    def __init__(self, routes, users, first):
        self._numbers = itertools.count(first)
        self._pairs = None
        routes = {name: dial(name, tuple(peer)) for name, peer in routes.items()}
        super().__init__("played", users, routes, address="its host's")
        threading.Thread(target=self._chat, daemon=True).start()

    def login(self, user, number):
        """`number` comes back to those who are told to kick the user."""
        with self._changed:
            self._changed.wait_for(lambda: self._connections)
            write("login", user, number)
            kick = legacy("Server").IMServerKickUser(user_id=user, client_type=WINDOWS, reason=number)
            self.send(KICK_USER, kick.SerializeToString())
            if user not in self.users:
                self.update(user, ONLINE)

    def logout(self, user):
        with self._changed:
            if user in self.users:
                write("logout", user)
                self.update(user, OFFLINE)

    def chat(self, pairs):
        """Sends messages from now on, from each first user to its second one in turn."""
        self._pairs = itertools.cycle(map(tuple, pairs)) if pairs else None

    def ask(self, users, number=0):
        question = legacy("Buddy").IMUsersStatReq(user_id=1, user_id_list=users, attach_data=b"%d" % number)
        return self.send(USERS_STATUS_REQUEST, question.SerializeToString(), sequence=1)

    def _chat(self):
        while True:
            time.sleep(PACE)
            pairs = self._pairs
            if not pairs:
                continue
            with self._changed:
                sender, receiver = next(pairs)
                if sender in self.users and self._connections:
                    number = next(self._numbers)
                    write("sent", sender, receiver, number, self._connections[0].route)
                    self.send(MSG_DATA, chat_body(sender, receiver, b"x" * 100, number))

    def _attach(self, connection, stopped):
        super()._attach(connection, stopped)
        write("connected", connection.route)
        threading.Thread(target=self._await_end, args=(connection,), daemon=True).start()

    def _await_end(self, connection):
        with self._changed:
            self._changed.wait_for(lambda: connection not in self._connections)
            write("ended", connection.route, self.ends[-1][1])

    def _take(self, route, command, body):
        if command == MSG_DATA:
            message = legacy("Message").IMMsgData.FromString(body)
            write("got", message.from_user_id, message.to_session_id, message.msg_id, route)
        elif command == KICK_USER:
            kick = legacy("Server").IMServerKickUser.FromString(body)
            write("kick", kick.user_id, kick.reason, route)
            self.logout(kick.user_id)
        elif command == STATUS_NOTICE:
            user = legacy("Buddy").IMUserStatNotify.FromString(body).user_stat
            write("notice", user.user_id, user.status)
        elif command == USERS_STATUS_ANSWER:
            answer = legacy("Buddy").IMUsersStatRsp.FromString(body)
            write("answer", int(answer.attach_data), [[it.user_id, it.status] for it in answer.user_stat_list])


def dial(name, peer):
    def connect(_address, _limit):
        link = socket.socket()
        try:
            link.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
            link.settimeout(CONNECT_LIMIT)
            link.connect(peer)
        except BaseException:
            link.close()
            raise
        return link

    return connect


def write(kind, *what):
    # In one piece, and at once.
    os.write(1, json.dumps([time.monotonic(), kind, *what]).encode() + b"\n")


def main():
    played = Played(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        {"login": played.login, "logout": played.logout, "chat": played.chat, "ask": played.ask}[name](*arguments)


if __name__ == "__main__":
    main()
