"""BroadcastService.Subscribe: what is routed, as typed events."""

import msgserver
from msgserver import MSG_DATA, ONLINE, WINDOWS, MsgServer
from teamtalk.route.v1 import broadcast_pb2, presence_pb2

CHAT = broadcast_pb2.EVENT_KIND_CHAT_MESSAGE
STATUS = broadcast_pb2.EVENT_KIND_STATUS_CHANGE


def test_a_subscriber_sees_a_message_typed_and_raw(server, client, user, other_user):
    # Unknown field 99 and odd header words: both survive.
    body = msgserver.chat_body(user, other_user, b"hello", msg_id=7) + b"\x98\x06\x01"
    pdu = msgserver.frame(MSG_DATA, body, sequence=5, version=3, reserved=9)
    with MsgServer(server.pdu) as sender, MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as receiver:
        receiver.statuses()
        stream = client.subscribe(filters=[{"user_ids": [user]}], include_raw_pdu=True)
        stream.next("subscribed")

        sender.send_bytes(pdu)

        event = stream.next("event")
        assert event.kind == CHAT
        assert event.origin_link
        assert event.raw_pdu == pdu
        assert event.chat_message.from_user_id == user
        assert event.chat_message.to_id == other_user
        assert event.chat_message.conversation_type == broadcast_pb2.CONVERSATION_TYPE_SINGLE
        assert event.chat_message.message_id == 7
        assert event.chat_message.create_time.seconds == 1_700_000_000
        assert event.chat_message.message_type == 1
        assert event.chat_message.content == b"hello"
        assert receiver.receive(MSG_DATA).body == body


def test_a_subscription_filters_by_kind_and_user(server, client, user, other_user):
    with MsgServer(server.pdu) as desk:
        stream = client.subscribe(filters=[{"kinds": [STATUS], "user_ids": [user]}])
        stream.next("subscribed")

        desk.send(MSG_DATA, msgserver.chat_body(user, other_user, b"of another kind"))
        desk.update(other_user, WINDOWS, ONLINE)
        desk.update(user, WINDOWS, ONLINE)

        event = stream.next("event")
        assert event.kind == STATUS
        assert event.status_change.user.user_id == user
        assert event.status_change.reason == presence_pb2.CHANGE_REASON_LOGIN
        assert event.raw_pdu == b""


def test_a_body_that_does_not_parse_is_told_as_such(server, client):
    with MsgServer(server.pdu) as sender:
        stream = client.subscribe(filters=[{"kinds": [CHAT]}], include_raw_pdu=True)
        stream.next("subscribed")

        sender.send(MSG_DATA, b"\xff")

        event = stream.next("event")
        assert event.unparsed
        assert event.WhichOneof("body") is None
        assert event.raw_pdu.endswith(b"\xff")


def test_a_subscription_that_resumes_misses_nothing(server, client, user, other_user):
    def send(text):
        sender.send(MSG_DATA, msgserver.chat_body(user, other_user, text))

    with MsgServer(server.pdu) as sender:
        stream = client.subscribe(filters=[{"user_ids": [user]}])
        stream.next("subscribed")
        send(b"one")
        stream.next("event")
        stream.cancel()
        send(b"two")
        sender.statuses()

        resumed = client.subscribe(filters=[{"user_ids": [user]}], resume_position=stream.position)

        resumed.next("resumed")
        send(b"three")
        assert [resumed.next("event").chat_message.content for _ in range(2)] == [b"two", b"three"]


def test_a_client_with_default_limits_survives_a_message_of_5_mb(server, client, user, other_user):
    with MsgServer(server.pdu) as sender:
        stream = client.subscribe(filters=[{"user_ids": [user]}])
        stream.next("subscribed")
        before = stream.position
        sender.send(MSG_DATA, msgserver.chat_body(user, other_user, bytes(5_000_000)))
        sender.send(MSG_DATA, msgserver.chat_body(user, other_user, b"after it"))

        resumed = client.subscribe(filters=[{"user_ids": [user]}], resume_position=before)

        resumed.next("resumed")
        for events in (stream, resumed):
            large = events.next("event")
            assert [(it.field, it.size_bytes) for it in large.omitted] == [("chat_message.content", 5_000_000)]
            assert large.chat_message.to_id == other_user
            after = events.next("event")
            assert (after.chat_message.content, list(after.omitted)) == (b"after it", [])
