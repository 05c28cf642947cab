"""A first client of TeamTalk Route in Python: a node, a gateway and two played MsgServers, all started here.

TEST_BIN_DIR has the programs, TEST_PROTO_DIR the .proto files. Needs grpcio and grpcio-tools.
"""

import importlib
import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import grpc_tools.protoc

BIN = Path(os.environ["TEST_BIN_DIR"])
PROTO = Path(os.environ["TEST_PROTO_DIR"])
WAIT = 20  # seconds that anything may take on a busy machine
MIB = 1 << 20
# google.rpc comes with no package that is installed here: what is read of error details.
ERROR_DETAILS = """
syntax = "proto3"; package google.rpc;
import "google/protobuf/any.proto";
message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
message ErrorInfo { string reason = 1; string domain = 2; }
message FieldViolation { string field = 1; string description = 2; }
message BadRequest { repeated FieldViolation field_violations = 1; }
"""


def compile_protos(out):
    """Makes modules of all .proto files, as a project does when it is built."""
    (out / "error_details.proto").write_text(ERROR_DETAILS)
    files = [*PROTO.glob("teamtalk/route/v1/*.proto"), *(PROTO / "legacy").glob("*.proto"), out / "error_details.proto"]
    include = [PROTO / "legacy", PROTO, out, Path(grpc_tools.__file__).parent / "_proto"]  # legacy first
    arguments = ["protoc", *(f"-I{path}" for path in include), f"--python_out={out}", f"--grpc_python_out={out}"]
    assert grpc_tools.protoc.main([*arguments, *map(str, files)]) == 0
    sys.path.insert(0, str(out))


generated = tempfile.TemporaryDirectory(prefix="newcomer-")
compile_protos(Path(generated.name))
presence, route, stream, server, presence_grpc, route_grpc, server_grpc = (
    importlib.import_module(f"teamtalk.route.v1.{name}")
    for name in ("presence_pb2", "broadcast_pb2", "stream_pb2", "server_pb2")
    + ("presence_pb2_grpc", "broadcast_pb2_grpc", "server_pb2_grpc")
)
error_details = importlib.import_module("error_details_pb2")
im_server, im_buddy, im_message, im_base = (
    importlib.import_module(f"IM.{name}_pb2") for name in ("Server", "Buddy", "Message", "BaseDefine")
)

ONLINE, LEAVE = im_base.USER_STATUS_ONLINE, im_base.USER_STATUS_LEAVE
WINDOWS, ANDROID = im_base.CLIENT_TYPE_WINDOWS, im_base.CLIENT_TYPE_ANDROID
HEARTBEAT, CLAIM, LIST, UPDATE, KICK = 0x0701, 0x0707, 0x0708, 0x070A, 0x070D
QUERY, ANSWER, CHAT = 0x020A, 0x020B, 0x0301
IS_ONLINE, IS_OFFLINE = presence.PRESENCE_STATUS_ONLINE, presence.PRESENCE_STATUS_OFFLINE
IS_AWAY = presence.PRESENCE_STATUS_AWAY
CHATS = [route.EventFilter(kinds=[route.EVENT_KIND_CHAT_MESSAGE])]


class Program:
    """A server program. Its log, one JSON object a line, tells its ports."""

    def __init__(self, *command):
        command = [BIN / command[0], *command[1:], "--log-format", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.log = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.log.put(json.loads(line))

    def wait_for(self, message):
        """The next line of the log with this message."""
        while (line := self.log.get(timeout=WAIT))["message"] != message:
            pass
        return line


class MsgServer:
    """A MsgServer, as docs/legacy-protocol.md has it. What it reads is in `inbox`, heartbeats left out."""

    def __init__(self, address, users):
        self.socket = socket.create_connection(address.split(":"))
        self.inbox = queue.Queue()
        self.sending = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        self.send(CLAIM, im_server.IMRoleSet(master=1))
        fields = ("user_id", "client_type", "status")
        self.send(LIST, im_server.IMOnlineUserInfo(user_stat_list=[dict(zip(fields, user)) for user in users]))

    def send(self, command, message=None):
        body = message.SerializeToString() if message else b""
        pdu = struct.pack(">IHHHHHH", 16 + len(body), 1, 0, command >> 8, command, 0, 0) + body
        with self.sending:
            self.socket.sendall(pdu)
        return pdu

    def update(self, user, status):
        self.send(UPDATE, im_server.IMUserStatusUpdate(user_status=status, user_id=user, client_type=WINDOWS))

    def chat(self, sender, receiver, number, content):
        fields = dict(from_user_id=sender, to_session_id=receiver, msg_id=number, msg_data=content)
        return self.send(CHAT, im_message.IMMsgData(create_time=int(time.time()), msg_type=1, **fields))

    def expect(self, command):
        """The next PDU with this command. Others are passed over."""
        while struct.unpack_from(">H", pdu := self.inbox.get(timeout=WAIT), 10)[0] != command:
            pass
        return pdu

    def expect_chat(self):
        return im_message.IMMsgData.FromString(self.expect(CHAT)[16:])

    def query(self, *users):
        """Asks for the legacy status of users. The answer comes when all that was sent before it counts."""
        self.send(QUERY, im_buddy.IMUsersStatReq(user_id=users[0], user_id_list=users))
        answer = im_buddy.IMUsersStatRsp.FromString(self.expect(ANSWER)[16:])
        return [(entry.user_id, entry.status) for entry in answer.user_stat_list]

    def _read(self):
        reader = self.socket.makefile("rb")
        while header := reader.read(16):
            pdu = header + reader.read(struct.unpack_from(">I", header)[0] - 16)
            if struct.unpack_from(">H", pdu, 10)[0] != HEARTBEAT:
                self.inbox.put(pdu)

    def _beat(self):
        while not time.sleep(4):
            self.send(HEARTBEAT)


class Reader:
    """Reads a stream on a thread of its own. Remembers the last position, to resume there."""

    def __init__(self, call):
        self.call, self.messages, self.position = call, queue.Queue(), ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for response in self.call:
                self.messages.put(response)
        except grpc.RpcError as error:
            self.messages.put(error)

    def next(self, *kinds):
        """The next message but watermarks, which has to be of one of these kinds."""
        kind = None  # as of a message of a newer version
        while kind in ("watermark", None):
            if isinstance(response := self.messages.get(timeout=WAIT), grpc.RpcError):
                raise response
            self.position = response.position or self.position
            kind = response.WhichOneof("message")
        assert kind in kinds, f"{kinds} expected: {str(response)[:1000]}"
        return getattr(response, kind)

    def snapshot(self, scope):
        assert self.next("snapshot_begin").scope == scope
        users = {}
        while parts := getattr(self.next("snapshot", "snapshot_end"), "users", None):
            users.update((user.user_id, user.status) for user in parts)
        return users

    def messages_up_to(self, last):
        seen = []
        while last not in seen:
            seen.append(self.next("event").chat_message.message_id)
        return seen


class Api:
    def __init__(self, address, *options):
        channel = grpc.insecure_channel(address, options)
        self.presence = presence_grpc.PresenceServiceStub(channel)
        self.broadcast = route_grpc.BroadcastServiceStub(channel)
        self.server = server_grpc.ServerServiceStub(channel)

    def subscribe(self, **request):
        return Reader(self.broadcast.Subscribe(route.SubscribeRequest(filters=CHATS, **request)))


def details(error):
    """What an error says: its status code, its reason, and the fields that are wrong."""
    info, bad = error_details.ErrorInfo(), error_details.BadRequest()
    encoded = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    for detail in error_details.Status.FromString(encoded).details:
        detail.Unpack(info) or detail.Unpack(bad)
    return error.code().name, info.reason, [violation.field for violation in bad.field_violations]


def fails(call, request):
    """The details of the error of a call that has to fail: a stream's when it is read."""
    try:
        answer = call(request, timeout=WAIT)
        if hasattr(answer, "__next__"):
            answer = next(answer)
    except grpc.RpcError as error:
        print(f"    {error.code().name}: {error.details()[:230]}")
        return details(error)
    raise AssertionError(f"no error: {answer}")


def queries(api):
    one = api.presence.GetUserStatus(presence.GetUserStatusRequest(user_id=1, include_sessions=True))
    assert one.user.status == IS_ONLINE and [session.msg_server for session in one.user.sessions] == ["msg-1"]

    asked = [102, 3, 9999, 1, 3]
    request = presence.BatchGetUserStatusRequest(user_ids=asked, at_least_position=one.position)
    answers = [(user.user_id, user.status) for user in api.presence.BatchGetUserStatus(request).users]
    assert answers == list(zip(asked, [IS_AWAY, IS_ONLINE, IS_OFFLINE, IS_ONLINE, IS_ONLINE]))

    listed, pages, token = [], 0, ""
    while token or not pages:
        page = api.presence.ListOnlineUsers(presence.ListOnlineUsersRequest(page_size=10, page_token=token))
        listed += [user.user_id for user in page.users]
        pages, token = pages + 1, page.next_page_token
    assert listed == [*range(1, 26), 101, 102, 103] and pages >= 3

    count = api.presence.CountOnlineUsers(presence.CountOnlineUsersRequest()).all
    assert (count.online_count, count.away_count) == (27, 1)


def watch(api, msg_server):
    """The watched set changes while the stream goes on. Returns the last position, of a watch of users 1 and 3."""
    requests = queue.Queue()
    requests.put(presence.WatchUserSetRequest(start=presence.WatchUserSetStart(user_ids=[1, 2])))
    reader = Reader(api.presence.WatchUserSet(iter(requests.get, None)))
    assert set(reader.snapshot(presence.SNAPSHOT_SCOPE_ALL)) == {1, 2}
    msg_server.update(1, LEAVE)
    assert reader.next("change").reason == presence.CHANGE_REASON_AWAY

    other_set = presence.ChangeUserSet(number=1, add_user_ids=[3], remove_user_ids=[2])
    requests.put(presence.WatchUserSetRequest(change_set=other_set))
    assert reader.next("set_changed").user_count == 2
    assert set(reader.snapshot(presence.SNAPSHOT_SCOPE_ADDED)) == {3}
    for user, status in ((2, LEAVE), (3, LEAVE), (1, ONLINE)):
        msg_server.update(user, status)
    told = [reader.next("change").user for _ in range(2)]
    assert [(user.user_id, user.status) for user in told] == [(3, IS_AWAY), (1, IS_ONLINE)], "nothing of user 2"
    requests.put(None)
    reader.call.cancel()
    return reader.position


def big_message(address, api, sender, receiver):
    """A message of 5 MB: default limits see all but the content, who asks for more has it whole."""
    assert api.server.GetServerInfo(server.GetServerInfoRequest()).limits.max_pdu_bytes == 8 * MIB
    usual = api.subscribe()
    large = Api(address, ("grpc.max_receive_message_length", 17 * MIB)).subscribe(max_event_bytes=16 * MIB)
    usual.next("subscribed"), large.next("subscribed")
    content = os.urandom(5_000_000)
    pdu = sender.chat(1, 101, 1, content)
    sender.chat(1, 101, 2, b"short")
    assert receiver.expect(CHAT) == pdu
    event = usual.next("event")
    assert event.chat_message.message_id == 1 and event.chat_message.content == b""
    assert [(left.field, left.size_bytes) for left in event.omitted] == [("chat_message.content", len(content))]
    assert usual.next("event").chat_message.content == b"short"
    assert large.next("event").chat_message.content == content
    return usual


def crash(api, reader, watched, node, start_node, sender, receiver):
    """The node is killed. Whoever resumes is told that something may be missing, and gets what comes after."""
    sender.chat(1, 101, 3, b"before the client goes away")
    assert reader.messages_up_to(3) == [3]
    reader.call.cancel()
    sender.chat(1, 101, 4, b"while the client is away")
    reader = api.subscribe(resume_position=reader.position)
    reader.next("resumed")
    assert reader.messages_up_to(4) == [4], "missed nothing, nothing twice"

    node.process.kill()
    assert reader.messages.get(timeout=WAIT).code() == grpc.StatusCode.UNAVAILABLE
    sender.chat(1, 101, 5, b"while the node is away")
    start_node()
    gap = None
    while not gap:
        try:
            resumed = api.subscribe(resume_position=reader.position)
            gap = resumed.next("gap")
        except grpc.RpcError as error:  # it is not up yet, or does not know its gateways yet
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            time.sleep(0.2)
    assert (gap.reason, gap.missed_count) == (stream.GAP_REASON_EPOCH_CHANGED, 0)
    seen = resumed.messages_up_to(5)
    assert len(seen) == len(set(seen)), "what the node before had shown last may come again, but once"
    print(f"    resumed: missed an unknown number, for the node was restarted; after the gap came {seen}")
    assert [receiver.expect_chat().msg_id for _ in range(4)] == [2, 3, 4, 5], "MsgServers: nothing lost, nothing twice"

    request = route.SubscribeRequest(resume_position=reader.position, on_gap=stream.GAP_POLICY_FAIL)
    assert fails(api.broadcast.Subscribe, request)[:2] == ("OUT_OF_RANGE", "EPOCH_CHANGED")
    request = presence.WatchUserStatusRequest(user_ids=[1, 3], resume_position=watched)
    watcher = Reader(api.presence.WatchUserStatus(request))
    assert watcher.next("gap").reason == stream.GAP_REASON_EPOCH_CHANGED
    assert watcher.snapshot(presence.SNAPSHOT_SCOPE_ALL) == {1: IS_ONLINE, 3: IS_AWAY}, "MsgServers stay connected"
    return resumed


def publish(api, reader, first, second):
    chat = route.ChatMessage(from_user_id=7777, to_id=101, message_id=6, content=b"nnZSBwfPCz60q69ddmfIJA==")
    chat.message_type = route.MESSAGE_TYPE_SINGLE_TEXT
    event = route.Event(chat_message=chat)
    plan = api.broadcast.ExplainPublish(route.ExplainPublishRequest(event=event))
    assert [(target.msg_server, list(target.user_ids)) for target in plan.targets] == [("msg-2", [101])]
    request = route.PublishRequest(request_id="newcomer-1", event=event)
    request.acknowledgement = route.ACKNOWLEDGEMENT_TAKEN
    answer = api.broadcast.Publish(request)
    assert (answer.link_count, answer.duplicate, answer.outcome.taken_gateway_count) == (1, False, 1)
    again = api.broadcast.Publish(request)
    assert (again.duplicate, again.position) == (True, answer.position)
    got = second.expect_chat()
    assert (got.from_user_id, got.to_session_id, got.msg_id, got.msg_data) == (7777, 101, 6, chat.content)
    assert reader.messages_up_to(6) == [6]

    kick = route.Kick(user_id=102, client_type=presence.CLIENT_TYPE_ANDROID, reason=route.KICK_REASON_MOBILE_KICK)
    assert api.broadcast.Publish(route.PublishRequest(event=route.Event(kick=kick))).link_count == 2, "all MsgServers"
    for msg_server in (first, second):
        got = im_server.IMServerKickUser.FromString(msg_server.expect(KICK)[16:])
        assert (got.user_id, got.client_type, got.reason) == (102, ANDROID, 2)
    assert second.query(101) == [(101, ONLINE)]
    assert second.inbox.empty(), "the same request again, and the dry run, send nothing"

    request.event.chat_message.content = b"something else"
    assert fails(api.broadcast.Publish, request)[:2] == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


def mistakes(api, *wrong_ports):
    for address in wrong_ports:
        call = Api(address).presence.GetUserStatus
        assert fails(call, presence.GetUserStatusRequest(user_id=1))[:2] == ("UNAVAILABLE", "WRONG_PORT")
    chat = route.Event(chat_message=route.ChatMessage(from_user_id=1, to_id=2, message_type=1))
    for call, request, field in (
        (api.presence.GetUserStatus, presence.GetUserStatusRequest(), "user_id"),
        (api.presence.BatchGetUserStatus, presence.BatchGetUserStatusRequest(user_ids=[1, 0]), "user_ids[1]"),
        (api.presence.ListOnlineUsers, presence.ListOnlineUsersRequest(page_token="x"), "page_token"),
        (api.presence.WatchUserStatus, presence.WatchUserStatusRequest(), "user_ids"),
        (api.broadcast.Publish, route.PublishRequest(), "event.body"),
        (api.broadcast.Publish, route.PublishRequest(event=chat), "event.chat_message.message_id"),
        (api.broadcast.Subscribe, route.SubscribeRequest(resume_position="x"), "resume_position"),
    ):
        assert fails(call, request) == ("INVALID_ARGUMENT", "FIELD_INVALID", [field]), field
    nobody = api.presence.GetUserStatus(presence.GetUserStatusRequest(user_id=4294967295))
    assert nobody.user.status == IS_OFFLINE, "an unknown id is no error"
    to_nobody = route.Event(p2p_command=route.P2pCommand(from_user_id=88888, to_user_id=99999, command=b"{}"))
    assert api.broadcast.Publish(route.PublishRequest(event=to_nobody)).link_count == 0


def main():
    programs, begin = [], time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def start(*command):
        programs.append(Program(*command))
        return programs[-1]

    def start_node(address):
        return start("route-grpc", *f"serve --listen {address} --probe-listen 127.0.0.1:0 --pdu-limit 8MiB".split())

    def step(part, *arguments):
        print(f"{time.monotonic() - begin:5.1f} s {part.__name__}", flush=True)
        return part(*arguments)

    try:
        node = start_node("127.0.0.1:0")
        address = node.wait_for("node started")["grpc"]
        flags = "--listen 127.0.0.1:0=msg-1 --listen 127.0.0.1:0=msg-2 --probe-listen 127.0.0.1:0 --max-pdu-bytes 8MiB"
        gateway = start("pdu-gateway", "--upstream", f"http://{address}", *flags.split())
        probes = gateway.wait_for("probe port")["address"]
        listeners = [gateway.wait_for("listening for MsgServers") for _ in range(2)]  # in any order
        pdu = {line["msg_server"]: line["address"] for line in listeners}
        first = MsgServer(pdu["msg-1"], [(user, WINDOWS, ONLINE) for user in range(1, 26)])
        second = MsgServer(pdu["msg-2"], [(101, WINDOWS, ONLINE), (102, ANDROID, LEAVE), (103, WINDOWS, ONLINE)])
        assert first.query(25, 9999) == [(25, 1), (9999, 2)] and second.query(103, 102) == [(103, 1), (102, 2)]
        api = Api(address)
        step(queries, api)
        watched = step(watch, api, first)
        reader = step(big_message, address, api, first, second)
        reader = step(crash, api, reader, watched, node, lambda: start_node(address), first, second)
        step(publish, api, reader, first, second)
        step(mistakes, api, pdu["msg-1"], probes)
        print(f"{time.monotonic() - begin:5.1f} s passed")
    finally:
        for program in programs:
            program.process.kill()


main()
