"""Positions that cannot be resumed from."""

import grpc
import msgserver
from client import DEADLINE, Client, details, reason
from msgserver import MSG_DATA, ONLINE, WINDOWS, MsgServer
from teamtalk.route.v1 import broadcast_pb2, presence_pb2, stream_pb2

CHAT = broadcast_pb2.EVENT_KIND_CHAT_MESSAGE


def test_a_position_that_was_never_given_out_is_refused(client):
    for stream in [client.watch(all_users=True, resume_position="nonsense"), client.subscribe(resume_position="nonsense")]:
        error = stream.end()

        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert reason(error) == "FIELD_INVALID"
        violations = details(error)["BadRequest"].field_violations
        assert [violation.field for violation in violations] == ["resume_position"]


def test_a_position_of_an_earlier_life_is_a_gap_or_an_error_as_asked(start_server, user):
    earlier = Client(start_server()).presence.GetUserStatus(
        presence_pb2.GetUserStatusRequest(user_id=user), timeout=DEADLINE
    )
    server = start_server()
    client = Client(server)
    resume = {"resume_position": earlier.position}
    strict = resume | {"on_gap": stream_pb2.GAP_POLICY_FAIL}

    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE)]) as desk:
        desk.statuses()
        watch, subscription = client.watch(all_users=True, **resume), client.subscribe(filters=[{"kinds": [CHAT]}], **resume)

        for stream in [watch, subscription]:
            gap = stream.next("gap")
            assert gap.reason == stream_pb2.GAP_REASON_EPOCH_CHANGED
            assert gap.missed_count == 0
        assert watch.snapshot() == {user: presence_pb2.PRESENCE_STATUS_ONLINE}
        desk.send(MSG_DATA, msgserver.chat_body(user, user, b"after the gap"))
        assert subscription.next("event").chat_message.content == b"after the gap"

    for stream in [client.watch(all_users=True, **strict), client.subscribe(**strict)]:
        error = stream.end()
        assert error.code() == grpc.StatusCode.OUT_OF_RANGE
        assert reason(error) == "EPOCH_CHANGED"
