"""The API as a service sees it that has the .proto files and grpcio, and nothing of ours."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from teamtalk.route.v1 import broadcast_pb2, broadcast_pb2_grpc, presence_pb2, presence_pb2_grpc

# Of every call, streams included.
DEADLINE = 30


class Client:
    """One channel with the stubs of both services."""

    def __init__(self, server):
        self.channel = server.channel()
        self.presence = presence_pb2_grpc.PresenceServiceStub(self.channel)
        self.broadcast = broadcast_pb2_grpc.BroadcastServiceStub(self.channel)

    def user(self, user):
        request = presence_pb2.GetUserStatusRequest(user_id=user, include_sessions=True)
        return self.presence.GetUserStatus(request, timeout=DEADLINE).user

    def watch(self, **request):
        call = self.presence.WatchUserStatus(presence_pb2.WatchUserStatusRequest(**request), timeout=DEADLINE)
        return Stream(call, "message")

    def watch_user_set(self, requests):
        """A stream of what is said by `requests`, which may go on."""
        return Stream(self.presence.WatchUserSet(iter(requests), timeout=DEADLINE), "message")

    def subscribe(self, **request):
        call = self.broadcast.Subscribe(broadcast_pb2.SubscribeRequest(**request), timeout=DEADLINE)
        return Stream(call, "message")

    def publish(self, **request):
        return self.broadcast.Publish(broadcast_pb2.PublishRequest(**request), timeout=DEADLINE)

    def publish_all(self, requests):
        batch = broadcast_pb2.BatchPublishRequest(requests=requests)
        return self.broadcast.BatchPublish(batch, timeout=DEADLINE).responses


class Stream:
    """A server stream, read message by message. Watermarks are passed over; their position counts."""

    def __init__(self, call, oneof):
        self._call = call
        self._oneof = oneof
        self.position = ""

    def next(self, kind):
        """The next message, which must be of this kind."""
        response = next(self._call)
        while response.WhichOneof(self._oneof) == "watermark":
            self.position = response.position
            response = next(self._call)
        assert response.WhichOneof(self._oneof) == kind, response
        self.position = response.position
        return getattr(response, kind)

    def snapshot(self):
        """Reads a whole snapshot: user id to status."""
        users = {}
        self.next("snapshot_begin")
        while True:
            response = next(self._call)
            if response.WhichOneof(self._oneof) == "snapshot_end":
                self.position = response.position
                return users
            users.update((user.user_id, user.status) for user in response.snapshot.users)

    def end(self):
        """Reads until the server ends the stream; returns the error."""
        with pytest.raises(grpc.RpcError) as error:
            while True:
                next(self._call)
        return error.value

    def cancel(self):
        self._call.cancel()


def details(error):
    """The google.rpc details of an error, by message name."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    found = {}
    for detail in status.details:
        message = getattr(error_details_pb2, detail.TypeName().rsplit(".", 1)[1])()
        assert detail.Unpack(message)
        found[type(message).__name__] = message
    return found


def reason(error):
    info = details(error)["ErrorInfo"]
    assert info.domain == "route.teamtalk"
    return info.reason
