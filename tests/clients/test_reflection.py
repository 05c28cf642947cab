"""The API as somebody sees it who has no .proto file at all: `buf curl` asks the server what there is."""

import json
import pathlib
import subprocess
import sys

import msgserver
import pytest
from msgserver import MSG_DATA, ONLINE, WINDOWS, MsgServer

# From PyPI's buf-bin, beside this Python.
BUF = pathlib.Path(sys.executable).parent / "buf"

LIMIT = 30


class Buf:
    """`buf curl` against one server, by reflection."""

    def __init__(self, server, reflection="grpc-v1"):
        self._url = f"http://{server.grpc}"
        plaintext_grpc = ["--protocol=grpc", "--http2-prior-knowledge"]
        self._command = [str(BUF), "curl", *plaintext_grpc, f"--reflect-protocol={reflection}"]

    def methods(self):
        """The full names of all methods: package.Service/Method."""
        output = subprocess.run(
            [*self._command, "--list-methods", self._url], stdout=subprocess.PIPE, check=True, timeout=LIMIT
        )
        return output.stdout.decode().split()

    def call(self, method, request):
        """The answer of a unary call."""
        with self.stream(method, request) as stream:
            return stream.next()

    def stream(self, method, request):
        command = [*self._command, f"--data={json.dumps(request)}", f"{self._url}/teamtalk.route.v1.{method}"]
        return JsonStream(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))


class JsonStream:
    """JSON values as a process prints them. Leaving it ends the process."""

    def __init__(self, process):
        self._process = process
        self._text = ""

    def next(self):
        """Waits for the next value."""
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text)
            except ValueError:
                line = self._process.stdout.readline()
                assert line, f"the stream ended, with {self._text!r} unread"
                self._text = (self._text + line.decode()).lstrip()
                continue
            self._text = self._text[end:].lstrip()
            return value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.stdout.close()
        self._process.wait(LIMIT)


@pytest.mark.parametrize("reflection", ["grpc-v1", "grpc-v1alpha"])
def test_reflection_lists_every_service(server, reflection):
    methods = Buf(server, reflection).methods()

    assert {
        "teamtalk.route.v1.PresenceService/GetUserStatus",
        "teamtalk.route.v1.PresenceService/BatchGetUserStatus",
        "teamtalk.route.v1.PresenceService/WatchUserStatus",
        "teamtalk.route.v1.PresenceService/WatchUserSet",
        "teamtalk.route.v1.PresenceService/ListOnlineUsers",
        "teamtalk.route.v1.PresenceService/CountOnlineUsers",
        "teamtalk.route.v1.ServerService/GetServerInfo",
        "teamtalk.route.v1.BroadcastService/Subscribe",
        "teamtalk.route.v1.BroadcastService/Publish",
        "teamtalk.attach.v1.AttachService/Attach",
        "grpc.health.v1.Health/Check",
    } <= set(methods)


def test_a_query_needs_no_proto_files(server, user):
    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE)]) as desk:
        desk.statuses()

        request = {"user_id": user, "include_sessions": True}
        answer = Buf(server).call("PresenceService/GetUserStatus", request)

        assert answer["user"]["userId"] == user
        assert answer["user"]["status"] == "PRESENCE_STATUS_ONLINE"
        assert answer["user"]["sessions"][0]["peer"] == desk.address


def test_a_subscription_needs_no_proto_files(server, user, other_user):
    request = {"filters": [{"kinds": ["EVENT_KIND_CHAT_MESSAGE"], "user_ids": [user]}]}
    with MsgServer(server.pdu) as sender, Buf(server).stream("BroadcastService/Subscribe", request) as stream:
        begin = stream.next()

        sender.send(MSG_DATA, msgserver.chat_body(user, other_user, b"hello"))

        event = stream.next()["event"]
        assert "subscribed" in begin
        assert event["chatMessage"]["fromUserId"] == user
        assert event["chatMessage"]["toId"] == other_user


def test_a_watch_needs_no_proto_files(server, user):
    request = {"user_ids": [user]}
    with MsgServer(server.pdu) as desk, Buf(server).stream("PresenceService/WatchUserStatus", request) as stream:
        begin, end = stream.next(), stream.next()

        desk.update(user, WINDOWS, ONLINE)

        change = stream.next()["change"]
        assert "snapshotBegin" in begin and "snapshotEnd" in end
        assert change["user"]["status"] == "PRESENCE_STATUS_ONLINE"
