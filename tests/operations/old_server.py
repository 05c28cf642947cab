"""A stand-in for the C++ RouteServer, by `docs/legacy-protocol.md`: it sends everything to everybody.

What of it matters for a migration: who gets what, notices, status queries. Not its defects.
"""

import collections
import socket
import threading

from msgserver import (
    HEADER,
    HEARTBEAT,
    IOS,
    OFFLINE,
    ONLINE,
    ONLINE_USER_INFO,
    ROLE_SET,
    USER_STATUS_UPDATE,
    USERS_STATUS_ANSWER,
    USERS_STATUS_REQUEST,
    frame,
    legacy,
)
from msgservers import DESKTOP_LOGIN_NOTICE, STATUS_NOTICE

SIGNATURE_CHANGED = 0x0215
MOBILE = IOS & 0x10


class OldServer:
    """Listens from `start` to `stop`, as often as is asked for."""

    def __init__(self, address):
        self._address = address
        self._listener = None
        # One PDU at a time is handled and sent on, as by the one thread of the C++ server.
        self._lock = threading.Lock()
        self._links = []

    def start(self):
        self._listener = socket.create_server(self._address, backlog=100)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """It does not drain: connections end, whatever stands in them."""
        # The accepting thread is woken by this, and not by close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for link in self._links:
                link.socket.shutdown(socket.SHUT_RDWR)

    def connect(self, source, timeout):
        """A route for MsgServers."""
        return socket.create_connection(self._address, timeout, source_address=(source, 0))

    def peers(self):
        """The addresses of those that are connected, as `ss` shows them."""
        with self._lock:
            return sorted(link.peer for link in self._links)

    def _accept(self, listener):
        while True:
            try:
                link = Link(listener.accept()[0])
            except OSError:
                return
            with self._lock:
                self._links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        received = b""
        while chunk := link.read():
            received += chunk
            while len(received) >= HEADER.size:
                length, _, _, _, command, sequence, _ = HEADER.unpack_from(received)
                if len(received) < length:
                    break
                with self._lock:
                    self._handle(link, command, sequence, received[:length])
                received = received[length:]
        with self._lock:
            # Its users go with it, silently.
            self._links.remove(link)
            link.socket.close()

    def _handle(self, link, command, sequence, pdu):
        body = pdu[HEADER.size :]
        if command in (HEARTBEAT, ROLE_SET):
            return
        if command == ONLINE_USER_INFO:
            for entry in legacy("Server").IMOnlineUserInfo.FromString(body).user_stat_list:
                link.count(entry.user_id, entry.client_type, entry.status)
        elif command == USER_STATUS_UPDATE:
            update = legacy("Server").IMUserStatusUpdate.FromString(body)
            link.count(update.user_id, update.client_type, update.user_status)
            self._notify(update.user_id, update.client_type, update.user_status)
        elif command == USERS_STATUS_REQUEST:
            link.send(frame(USERS_STATUS_ANSWER, self._answer(body), sequence))
        else:
            self._broadcast(pdu, but=None if command == SIGNATURE_CHANGED else link)

    def _notify(self, user, client_type, status):
        desktop = self._desktop_logins(user)
        is_desktop = not client_type & MOBILE
        is_known = any(link.logins[user, kind] for link in self._links for kind in link.kinds(user))
        told = is_desktop and not desktop if status == OFFLINE else desktop
        if is_known and told:
            notice = legacy("Server").IMServerPCLoginStatusNotify(user_id=user, login_status=int(status != OFFLINE))
            self._broadcast(frame(DESKTOP_LOGIN_NOTICE, notice.SerializeToString()))
        if is_desktop and not (status == OFFLINE and desktop):
            stat = legacy("BaseDefine").UserStat(user_id=user, status=status)
            self._broadcast(frame(STATUS_NOTICE, legacy("Buddy").IMUserStatNotify(user_stat=stat).SerializeToString()))

    def _answer(self, body):
        question = legacy("Buddy").IMUsersStatReq.FromString(body)
        answer = legacy("Buddy").IMUsersStatRsp(user_id=question.user_id, attach_data=question.attach_data)
        for user in question.user_id_list:
            answer.user_stat_list.add(user_id=user, status=ONLINE if self._desktop_logins(user) else OFFLINE)
        return answer.SerializeToString()

    def _desktop_logins(self, user):
        return sum(link.logins[user, kind] for link in self._links for kind in link.kinds(user) if not kind & MOBILE)

    def _broadcast(self, pdu, but=None):
        for link in self._links:
            if link is not but:
                link.send(pdu)


class Link:
    """One MsgServer's connection, and the logins that it reported, by (user, client type)."""

    def __init__(self, connection):
        self.socket = connection
        self.peer = connection.getpeername()[0]
        self.logins = collections.Counter()

    def kinds(self, user):
        return [kind for it, kind in self.logins if it == user]

    def count(self, user, client_type, status):
        change = -1 if status == OFFLINE else 1
        self.logins[user, client_type] = max(self.logins[user, client_type] + change, 0)

    def read(self):
        try:
            return self.socket.recv(1 << 16)
        except OSError:
            return b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # its reader sees the end
