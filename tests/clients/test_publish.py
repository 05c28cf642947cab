"""BroadcastService.Publish: a service sends what a MsgServer would."""

import grpc
import legacy_client
import msgserver
import pytest
from client import details, reason
from msgserver import MSG_DATA, ONLINE, WINDOWS, MsgServer
from stubs import ROOT
from teamtalk.route.v1 import broadcast_pb2

TAKEN = broadcast_pb2.ACKNOWLEDGEMENT_TAKEN


def chat(sender, receiver, text):
    message = broadcast_pb2.ChatMessage(
        from_user_id=sender,
        to_id=receiver,
        conversation_type=broadcast_pb2.CONVERSATION_TYPE_SINGLE,
        message_id=1,
        create_time={"seconds": 1_700_000_000},
        message_type=1,
        content=text,
    )
    return broadcast_pb2.Event(chat_message=message)


def test_what_is_published_reaches_the_user_and_the_subscribers(server, client, user, other_user):
    with (
        MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as holder,
        MsgServer(server.pdu) as bystander,
    ):
        holder.statuses(), bystander.statuses()
        stream = client.subscribe(filters=[{"user_ids": [user]}])
        stream.next("subscribed")

        answer = client.publish(event=chat(user, other_user, b"from a bot"))

        assert answer.link_count == 1
        assert not answer.duplicate
        body = holder.receive(MSG_DATA).body
        message = msgserver.legacy("Message").IMMsgData.FromString(body)
        assert (message.from_user_id, message.to_session_id) == (user, other_user)
        assert message.msg_data == b"from a bot"
        event = stream.next("event")
        assert event.origin_link == ""
        assert event.chat_message.content == b"from a bot"
        assert stream.position == answer.position
        assert bystander.received(MSG_DATA) == []


def test_a_client_of_teamtalk_shows_what_is_published_as_the_documents_say(server, client, user, other_user):
    page = (ROOT / "docs" / "publishing.md").read_text()
    assert legacy_client.encrypted("hello").decode() in page
    written = [(7, "third, 日本語"), (5, "first"), (6, "second one, of 21 bytes")]
    with MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as holder:
        holder.statuses()
        shown = legacy_client.Client()
        requests = []
        for message_id, text in [*written, (6, "an id that was used")]:
            event = chat(user, other_user, legacy_client.encrypted(text))
            event.chat_message.message_id = message_id
            requests.append({"request_id": f"{user}-{text}", "event": event, "acknowledgement": TAKEN})
        not_encrypted = chat(user, other_user, b"plain text")
        not_encrypted.chat_message.message_id = 8

        answers = client.publish_all([*requests, {"event": not_encrypted}])

        assert [answer.outcome.taken_gateway_count for answer in answers] == [1, 1, 1, 1, 0]
        for _ in answers:
            shown.receive(msgserver.legacy("Message").IMMsgData.FromString(holder.receive(MSG_DATA).body))
        texts = ["first", "second one, of 21 bytes", "third, 日本語", None]
        assert shown.shows() == [(user, text) for text in texts]


def test_a_request_id_with_other_content_is_refused(client, user, other_user):
    client.publish(request_id=f"reused-{user}", event=chat(user, other_user, b"1"))

    with pytest.raises(grpc.RpcError) as error:
        client.publish(request_id=f"reused-{user}", event=chat(user, other_user, b"2"))

    assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert reason(error.value) == "REQUEST_ID_REUSED"


def test_an_audience_can_be_named(server, client, user, other_user):
    with (
        MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as holder,
        MsgServer(server.pdu) as bystander,
    ):
        holder.statuses(), bystander.statuses()
        third = user + 1_000_000

        to_nobody = client.publish(event=chat(user, other_user, b"1"), msg_servers_of_users={"user_ids": [third]})
        to_all = client.publish(event=chat(user, third, b"2"), all_msg_servers={})

        assert to_nobody.link_count == 0
        assert to_all.link_count >= 2
        text = msgserver.legacy("Message").IMMsgData.FromString
        assert text(holder.receive(MSG_DATA).body).msg_data == b"2"
        assert text(bystander.receive(MSG_DATA).body).msg_data == b"2"


def test_a_repeated_request_id_is_routed_once(server, client, user, other_user):
    with MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as holder:
        holder.statuses()

        answers = [client.publish(request_id=f"once-{user}", event=chat(user, other_user, b"x")) for _ in range(3)]

        assert [answer.duplicate for answer in answers] == [False, True, True]
        assert {answer.position for answer in answers} == {answers[0].position}
        assert {answer.link_count for answer in answers} == {1}
        assert len(holder.received(MSG_DATA)) == 1


@pytest.mark.parametrize(
    "request_fields",
    [
        {},
        {"event": {}},
        {"event": {"status_change": {"user": {"user_id": 1}}}},
        {"event": {"desktop_login_change": {"user_id": 1}}},
        {"event": {"kick": {"user_id": 1, "client_type": 1, "reason": 1}}, "msg_servers_of_users": {"user_ids": range(1, 10_002)}},
    ],
    ids=["no event", "empty event", "status", "desktop login", "too many users"],
)
def test_what_cannot_be_published_is_a_typed_error(client, request_fields):
    with pytest.raises(grpc.RpcError) as error:
        client.publish(**request_fields)

    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error.value) == "FIELD_INVALID"
    assert details(error.value)["BadRequest"].field_violations
