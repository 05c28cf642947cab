"""What a new user gets wrong, and what one tries who means no good: each is told plainly, and the server stays well."""

import json

import grpc
import pytest
from client import DEADLINE, Client, details, reason
from msgserver import ONLINE, WINDOWS, MsgServer
from server import Server
from test_limits import metric
from teamtalk.route.v1 import broadcast_pb2, presence_pb2, presence_pb2_grpc

PRESENCE, BROADCAST = "PresenceService", "BroadcastService"
MOST = 10_000


@pytest.fixture(autouse=True)
def well(server, client, user):
    """Behind each test the shared server answers, has no stream left, and has not logged an error."""
    yield
    client.user(user)
    nothing_is_open(server)
    lines = [json.loads(line) for line in server.log().split("\n")[:-1]]
    assert not [line for line in lines if line["level"] == "ERROR"]


def nothing_is_open(server):
    for _ in range(1000):
        if metric(server, "teamtalk_route_streams_open") == 0:
            return
    raise AssertionError("streams stay open")


def call(client, service, method, request):
    """Sends these bytes, whatever they are, and returns the error."""
    path = f"/teamtalk.route.v1.{service}/{method}"
    asked = client.channel.unary_stream(path)(request, timeout=DEADLINE)
    with pytest.raises(grpc.RpcError) as error:
        for _ in asked:
            pass
    return error.value


def fields(error):
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert reason(error) == "FIELD_INVALID"
    return [violation.field for violation in details(error)["BadRequest"].field_violations]


# Field 1 is a text, a number, the beginning of a message; field 3 is a number.
@pytest.mark.parametrize("request_bytes", [b"\x0a\x05hello", b"\x0a\x7f", b"\x18\x07", b"\xff" * 20], ids=bytes.hex)
def test_what_is_no_request_of_the_method_is_refused(client, request_bytes):
    error = call(client, PRESENCE, "GetUserStatus", request_bytes)

    assert fields(error), error


def test_json_is_refused(client):
    error = call(client, BROADCAST, "Publish", b'{"event": {"kick": {"userId": 1}}}')

    assert fields(error), error


@pytest.mark.parametrize(
    "port, told", [("pdu", "--grpc-listen"), ("probes", "this is the probe port")]
)
def test_a_port_for_something_else_says_what_it_is(server, port, told):
    address = "%s:%d" % server.pdu if port == "pdu" else server.probes.removeprefix("http://")
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        presence = presence_pb2_grpc.PresenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            # Without a deadline it would wait for ever, if it were not answered.
            presence.GetUserStatus(presence_pb2.GetUserStatusRequest(user_id=1))

    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(error.value) == "WRONG_PORT"
    assert told in error.value.details()


@pytest.mark.parametrize(
    "service, method, named",
    [
        (PRESENCE, "GetUserStatus", ["user_id"]),
        (PRESENCE, "WatchUserStatus", ["user_ids"]),
        (PRESENCE, "WatchUserSet", ["start"]),
        (BROADCAST, "Publish", ["event.body"]),
        (BROADCAST, "BatchPublish", ["requests"]),
        (BROADCAST, "ExplainPublish", ["event.body"]),
    ],
)
def test_an_empty_message_is_told_what_it_lacks(client, service, method, named):
    assert fields(call(client, service, method, b"")) == named


def test_ids_have_32_bits(client):
    largest = client.user(2**32 - 1)
    # What no generated code sends: a number of 33 bits, of which the lowest are the id, as protobuf has it.
    nobody = call(client, PRESENCE, "GetUserStatus", b"\x08\x80\x80\x80\x80\x10")

    assert largest.user_id == 2**32 - 1
    assert fields(nobody) == ["user_id"]
    with pytest.raises(ValueError):
        presence_pb2.GetUserStatusRequest(user_id=2**32)


def test_unknown_numbers_of_enums_are_named(client):
    users = presence_pb2.ListOnlineUsersRequest(status=99, client_class=-1)
    watch = presence_pb2.WatchUserStatusRequest(all_users=True, on_gap=99, on_lag=99, change_kinds=[99])
    filters = broadcast_pb2.SubscribeRequest(filters=[{"kinds": [99], "role": 99}])
    kick = {"user_id": 1, "client_type": 99_999, "reason": 1}
    publish = broadcast_pb2.PublishRequest(event={"kick": kick}, acknowledgement=99)

    assert fields(call(client, *named(users))) == ["status", "client_class"]
    assert fields(call(client, *named(watch))) == ["on_gap", "on_lag", "change_kinds"]
    assert fields(call(client, BROADCAST, "Subscribe", filters.SerializeToString())) == [
        "filters[0].kinds",
        "filters[0].role",
    ]
    assert fields(call(client, BROADCAST, "Publish", publish.SerializeToString())) == [
        "acknowledgement",
        "event.kick.client_type",
    ]


@pytest.mark.parametrize("method", ["BatchGetUserStatus", "WatchUserStatus", "WatchUserSet"])
def test_one_id_too_many_is_refused(client, method):
    ids = {"user_ids": range(1, MOST + 2)}
    is_set = method == "WatchUserSet"
    request = getattr(presence_pb2, f"{method}Request")(**({"start": ids} if is_set else ids))

    assert fields(call(client, *named(request))) == ["start.user_ids" if is_set else "user_ids"]


def test_so_many_ids_are_watched_in_many_streams(client):
    streams = [client.watch(user_ids=range(1, MOST + 1)) for _ in range(20)]

    for stream in streams:
        stream.snapshot()
        stream.cancel()


@pytest.mark.parametrize("is_read", [False, True])
def test_streams_are_given_up_at_any_moment(server, client, user, is_read):
    start = presence_pb2.WatchUserSetRequest(start={"user_ids": [user]})
    for _ in range(100):
        for stream, first in (
            (client.watch(user_ids=[user]), "snapshot_begin"),
            (client.watch_user_set([start]), "snapshot_begin"),
            (client.subscribe(), "subscribed"),
        ):
            if is_read:
                stream.next(first)
            stream.cancel()

    nothing_is_open(server)


@pytest.mark.parametrize("timeout", [-1, 0, 0.000001, 0.02])
def test_a_deadline_ends_a_call_that_would_wait(client, timeout):
    request = presence_pb2.CountOnlineUsersRequest(at_least_position=in_the_future(client))

    # The client looks at its clock, too, and may say it first.
    with pytest.raises(grpc.RpcError) as error:
        client.presence.CountOnlineUsers(request, timeout=timeout)

    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def in_the_future(client):
    """A position to which this server will not come."""
    now = client.presence.CountOnlineUsers(presence_pb2.CountOnlineUsersRequest(), timeout=DEADLINE).position
    return now[:-4] + "ffff"


def test_tokens_and_positions_are_for_what_gave_them(tmp_path, client):
    users = [(user, WINDOWS, ONLINE) for user in range(1, 6)]
    with Server.start(tmp_path) as other, MsgServer(other.pdu, users) as desk:
        desk.statuses()
        stranger = Client(other)
        page = stranger.presence.ListOnlineUsers(presence_pb2.ListOnlineUsersRequest(page_size=2), timeout=DEADLINE)
        stranger.channel.close()
    asks = presence_pb2.ListOnlineUsersRequest
    watches = presence_pb2.WatchUserStatusRequest
    future = in_the_future(client)
    for request, field in (
        # Of a list with other filters; a position; one that was changed; a long one.
        (asks(page_token=page.next_page_token, msg_server="m"), "page_token"),
        (asks(page_token=page.position), "page_token"),
        (asks(page_token="f" + page.next_page_token[1:]), "page_token"),
        (asks(page_token="0" * 100_000), "page_token"),
        (asks(at_least_position=page.next_page_token), "at_least_position"),
        (watches(all_users=True, resume_position=page.next_page_token), "resume_position"),
        (watches(all_users=True, resume_position=future), "resume_position"),
    ):
        assert fields(call(client, *named(request))) == [field], request
    for request, expected in (
        (asks(at_least_position=page.position), (grpc.StatusCode.OUT_OF_RANGE, "EPOCH_CHANGED")),
        (asks(at_least_position=future), (grpc.StatusCode.UNAVAILABLE, "BEHIND")),
    ):
        error = call(client, *named(request))
        assert (error.code(), reason(error)) == expected


def named(request):
    """What `call` takes, of a request of PresenceService."""
    return PRESENCE, type(request).__name__.removesuffix("Request"), request.SerializeToString()
