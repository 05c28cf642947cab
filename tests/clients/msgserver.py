"""A MsgServer, played with a raw socket: the frame is written here by hand, bodies by generated code."""

import collections
import importlib
import itertools
import socket
import struct

# Total length, version, flag, service id, command id, sequence number, reserved; big-endian.
HEADER = struct.Struct(">IHHHHHH")

HEARTBEAT = 0x0701
ROLE_SET = 0x0707
ONLINE_USER_INFO = 0x0708
USER_STATUS_UPDATE = 0x070A
USERS_STATUS_REQUEST = 0x020A
USERS_STATUS_ANSWER = 0x020B
MSG_DATA = 0x0301

WINDOWS, MAC, IOS, ANDROID = 0x01, 0x02, 0x11, 0x12
ONLINE, OFFLINE, LEAVE = 1, 2, 3

# For every read: a PDU that does not come fails the test.
READ_LIMIT = 20

# Machines have addresses of their own, and so have MsgServers here: two links of one address may be one MsgServer's.
_hosts = itertools.count()

Pdu = collections.namedtuple("Pdu", "command sequence body")


def legacy(name):
    """The generated module of `proto/legacy/IM.<name>.proto`."""
    return importlib.import_module(f"IM.{name}_pb2")


def frame(command, body=b"", sequence=0, version=1, reserved=0):
    """The bytes of one PDU. Nobody looks at the service id."""
    service = command >> 8
    return HEADER.pack(HEADER.size + len(body), version, 0, service, command, sequence, reserved) + body


def chat_body(sender, receiver, text, msg_id=1):
    """The body of a one-to-one text message."""
    message = legacy("Message").IMMsgData(
        from_user_id=sender,
        to_session_id=receiver,
        msg_id=msg_id,
        create_time=1_700_000_000,
        msg_type=1,
        msg_data=text,
    )
    return message.SerializeToString()


class MsgServer:
    """One link. It claims and lists its users at once, as a real one does."""

    def __init__(self, address, users=(), own_address=True, receive_buffer=None):
        self._socket = socket.socket()
        self._socket.settimeout(READ_LIMIT)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if own_address:
            high, low = divmod(next(_hosts), 250)
            self._socket.bind((f"127.1.{high}.{low + 1}", 0))
        self._socket.connect(address)
        self._received = b""
        self._inbox = collections.deque()
        self.send(ROLE_SET, legacy("Server").IMRoleSet(master=1).SerializeToString())
        self.list(users)

    @property
    def address(self):
        """Its end of the connection, as the server writes it."""
        return "%s:%d" % self._socket.getsockname()

    def send(self, command, body=b""):
        self.send_bytes(frame(command, body))

    def send_bytes(self, data):
        self._socket.sendall(data)

    def list(self, users):
        """Reports (user, client type, status) entries."""
        body = legacy("Server").IMOnlineUserInfo()
        for user, client_type, status in users:
            body.user_stat_list.add(user_id=user, client_type=client_type, status=status)
        self.send(ONLINE_USER_INFO, body.SerializeToString())

    def update(self, user, client_type, status):
        body = legacy("Server").IMUserStatusUpdate(user_status=status, user_id=user, client_type=client_type)
        self.send(USER_STATUS_UPDATE, body.SerializeToString())

    def statuses(self, *users):
        """Asks for the legacy status of users. The answer has seen all that was sent before the question."""
        question = legacy("Buddy").IMUsersStatReq(user_id=1, user_id_list=users)
        self.send_bytes(frame(USERS_STATUS_REQUEST, question.SerializeToString(), sequence=77))
        pdu = self._next()
        while pdu.command != USERS_STATUS_ANSWER:
            self._inbox.append(pdu)
            pdu = self._next()
        assert pdu.sequence == 77
        answer = legacy("Buddy").IMUsersStatRsp.FromString(pdu.body)
        return [entry.status for entry in answer.user_stat_list]

    def receive(self, command):
        """Waits for the next PDU of this command; others before it are not kept."""
        while True:
            pdu = self._inbox.popleft() if self._inbox else self._next()
            if pdu.command == command:
                return pdu

    def received(self, command):
        """What of this command has come so far and was not taken by `receive`."""
        self.statuses()
        found = [pdu for pdu in self._inbox if pdu.command == command]
        self._inbox.clear()
        return found

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _next(self):
        while True:
            length, _, _, _, command, sequence, _ = HEADER.unpack(self._read(HEADER.size))
            body = self._read(length - HEADER.size)
            if command != HEARTBEAT:
                return Pdu(command, sequence, body)

    def _read(self, count):
        while len(self._received) < count:
            chunk = self._socket.recv(65536)
            assert chunk, "the server closed the connection"
            self._received += chunk
        data, self._received = self._received[:count], self._received[count:]
        return data
