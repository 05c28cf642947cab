"""PresenceService: who is online, and how that changes."""

import queue
import time

import grpc
import pytest
from client import DEADLINE, Client, details, reason
from msgserver import ANDROID, IOS, LEAVE, OFFLINE, ONLINE, WINDOWS, MsgServer
from teamtalk.route.v1 import presence_pb2, server_pb2, server_pb2_grpc, stream_pb2


def test_a_user_is_the_sum_of_all_clients_on_all_msgservers(server, client, user):
    before = time.time()
    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE)]) as desk, MsgServer(server.pdu) as phone:
        phone.update(user, IOS, LEAVE)
        desk.statuses(), phone.statuses()

        status = client.user(user)

        assert status.status == presence_pb2.PRESENCE_STATUS_ONLINE
        assert status.legacy_status == presence_pb2.LEGACY_STATUS_ONLINE
        sessions = {session.client_type: session for session in status.sessions}
        assert sessions.keys() == {WINDOWS, IOS}
        assert sessions[WINDOWS].state == presence_pb2.SESSION_STATE_ONLINE
        assert sessions[WINDOWS].peer == desk.address
        assert sessions[IOS].state == presence_pb2.SESSION_STATE_AWAY
        assert sessions[IOS].peer == phone.address
        assert sessions[IOS].link != sessions[WINDOWS].link
        assert sessions[WINDOWS].login_count == 1
        assert sessions[IOS].msg_server == phone.address.rpartition(":")[0]
        # To the second.
        assert before - 2 <= sessions[WINDOWS].login_time.seconds <= time.time() + 1


def test_a_user_with_a_phone_only_is_online_but_not_for_legacy_clients(server, client, user):
    with MsgServer(server.pdu, [(user, ANDROID, ONLINE)]) as phone:
        legacy_answer = phone.statuses(user)

        status = client.user(user)

        assert legacy_answer == [OFFLINE]
        assert status.legacy_status == presence_pb2.LEGACY_STATUS_OFFLINE
        assert status.status == presence_pb2.PRESENCE_STATUS_ONLINE


def test_a_user_nobody_knows_is_offline(client, user):
    status = client.user(user)

    assert status.user_id == user
    assert status.status == presence_pb2.PRESENCE_STATUS_OFFLINE
    assert not status.sessions


def test_a_batch_keeps_order_and_duplicates(server, client, user, other_user):
    with MsgServer(server.pdu, [(user, WINDOWS, LEAVE)]) as desk:
        desk.statuses()
        request = presence_pb2.BatchGetUserStatusRequest(
            user_ids=[other_user, user, other_user, user]
        )

        answer = client.presence.BatchGetUserStatus(request, timeout=DEADLINE)

        assert [(entry.user_id, entry.status) for entry in answer.users] == [
            (other_user, presence_pb2.PRESENCE_STATUS_OFFLINE),
            (user, presence_pb2.PRESENCE_STATUS_AWAY),
            (other_user, presence_pb2.PRESENCE_STATUS_OFFLINE),
            (user, presence_pb2.PRESENCE_STATUS_AWAY),
        ]
        assert not any(entry.sessions for entry in answer.users)
        assert answer.position


def test_a_batch_has_a_limit_that_is_a_typed_error(client):
    fits = presence_pb2.BatchGetUserStatusRequest(user_ids=range(1, 10_001))
    too_many = presence_pb2.BatchGetUserStatusRequest(user_ids=range(1, 10_002))

    answer = client.presence.BatchGetUserStatus(fits, timeout=DEADLINE)
    with pytest.raises(grpc.RpcError) as error:
        client.presence.BatchGetUserStatus(too_many, timeout=DEADLINE)

    assert len(answer.users) == 10_000
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error.value) == "FIELD_INVALID"
    violations = details(error.value)["BadRequest"].field_violations
    assert [violation.field for violation in violations] == ["user_ids"]


def test_a_watch_begins_with_a_snapshot_and_goes_on_with_changes(server, client, user, other_user):
    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE)]) as desk:
        desk.statuses()

        stream = client.watch(user_ids=[user, other_user])
        snapshot = stream.snapshot()
        desk.update(other_user, ANDROID, ONLINE)
        login = stream.next("change")
        desk.close()
        ends = [stream.next("change"), stream.next("change")]

        assert snapshot == {user: presence_pb2.PRESENCE_STATUS_ONLINE}
        assert login.user.user_id == other_user
        assert login.user.status == presence_pb2.PRESENCE_STATUS_ONLINE
        assert login.reason == presence_pb2.CHANGE_REASON_LOGIN
        assert {end.user.user_id for end in ends} == {user, other_user}
        assert {end.user.status for end in ends} == {presence_pb2.PRESENCE_STATUS_OFFLINE}
        assert {end.reason for end in ends} == {presence_pb2.CHANGE_REASON_LINK_CLOSED}


def test_a_watch_that_resumes_misses_nothing(server, client, user):
    with MsgServer(server.pdu) as desk:
        stream = client.watch(user_ids=[user])
        stream.snapshot()
        desk.update(user, WINDOWS, ONLINE)
        stream.next("change")
        stream.cancel()
        desk.update(user, WINDOWS, LEAVE)
        desk.update(user, WINDOWS, OFFLINE)
        desk.statuses()

        resumed = client.watch(user_ids=[user], resume_position=stream.position)

        resumed.next("resumed")
        missed = [resumed.next("change").user.status for _ in range(2)]
        assert missed == [presence_pb2.PRESENCE_STATUS_AWAY, presence_pb2.PRESENCE_STATUS_OFFLINE]


def test_users_who_are_online_are_listed_page_by_page_and_counted(start_server):
    server = start_server()
    client = Client(server)
    online = list(range(10, 20))
    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE) for user in online]) as desk:
        desk.update(15, IOS, ONLINE)
        desk.statuses()
        listed, request = [], presence_pb2.ListOnlineUsersRequest(page_size=3)
        while True:
            page = client.presence.ListOnlineUsers(request, timeout=DEADLINE)
            listed += [user.user_id for user in page.users]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        request = presence_pb2.ListOnlineUsersRequest(client_class=presence_pb2.CLIENT_CLASS_MOBILE)
        mobile = client.presence.ListOnlineUsers(request, timeout=DEADLINE)
        counts = client.presence.CountOnlineUsers(presence_pb2.CountOnlineUsersRequest(), timeout=DEADLINE)

        assert listed == online
        assert [user.user_id for user in mobile.users] == [15]
        assert (counts.all.online_count, counts.with_desktop.online_count, counts.with_both.online_count) == (10, 10, 1)


def test_a_server_says_what_it_takes(client):
    server = server_pb2_grpc.ServerServiceStub(client.channel)

    info = server.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=DEADLINE)

    assert info.version
    assert info.limits.max_user_ids == 10_000
    assert info.rights.publish


def test_a_set_of_users_changes_while_it_is_watched(server, client, user, other_user):
    says = queue.SimpleQueue()
    says.put(presence_pb2.WatchUserSetRequest(start={"user_ids": [user]}))
    with MsgServer(server.pdu, [(user, WINDOWS, ONLINE), (other_user, IOS, LEAVE)]) as desk:
        desk.statuses()
        stream = client.watch_user_set(iter(says.get, None))
        assert stream.snapshot() == {user: presence_pb2.PRESENCE_STATUS_ONLINE}

        change = {"number": 1, "add_user_ids": [other_user], "remove_user_ids": [user]}
        says.put(presence_pb2.WatchUserSetRequest(change_set=change))

        assert stream.next("set_changed").number == 1
        assert stream.snapshot() == {other_user: presence_pb2.PRESENCE_STATUS_AWAY}
        desk.update(user, WINDOWS, OFFLINE)
        desk.update(other_user, IOS, ONLINE)
        told = stream.next("change")
        assert told.user.user_id == other_user
        assert told.reason == presence_pb2.CHANGE_REASON_BACK
        assert told.previous_status == presence_pb2.PRESENCE_STATUS_AWAY
        says.put(None)


def test_a_set_is_watched_on_when_the_node_is_killed(start_server, user, other_user):
    killed = start_server()
    says = queue.SimpleQueue()
    says.put(presence_pb2.WatchUserSetRequest(start={"user_ids": [user]}))
    with MsgServer(killed.pdu, [(user, WINDOWS, ONLINE)]) as desk:
        desk.statuses()
        stream = Client(killed).watch_user_set(iter(says.get, None))
        assert stream.snapshot() == {user: presence_pb2.PRESENCE_STATUS_ONLINE}
        says.put(presence_pb2.WatchUserSetRequest(change_set={"number": 1, "add_user_ids": [other_user]}))
        assert stream.next("set_changed").user_count == 2
        assert stream.snapshot() == {}

        killed.kill()

        assert stream.end().code() == grpc.StatusCode.UNAVAILABLE
        says.put(None)
    server = start_server()
    with MsgServer(server.pdu, [(other_user, IOS, ONLINE)]) as desk:
        desk.statuses()
        start = {"user_ids": [other_user, user], "resume_position": stream.position}
        again = Client(server).watch_user_set([presence_pb2.WatchUserSetRequest(start=start)])

        assert again.next("gap").reason == stream_pb2.GAP_REASON_EPOCH_CHANGED
        assert again.snapshot() == {other_user: presence_pb2.PRESENCE_STATUS_ONLINE}


def test_a_browser_adds_users_as_it_resumes(server, client, user, other_user):
    with MsgServer(server.pdu, [(other_user, WINDOWS, ONLINE)]) as desk:
        desk.statuses()
        stream = client.watch(user_ids=[user])
        stream.snapshot()
        stream.cancel()
        desk.update(user, IOS, ONLINE)
        desk.statuses()

        more = client.watch(user_ids=[user], new_user_ids=[other_user], resume_position=stream.position)

        more.next("resumed")
        assert more.next("change").user.user_id == user
        assert more.snapshot() == {other_user: presence_pb2.PRESENCE_STATUS_ONLINE}


def test_an_answer_can_be_followed_from_its_position(server, client, user):
    with MsgServer(server.pdu) as desk:
        answer = client.presence.GetUserStatus(presence_pb2.GetUserStatusRequest(user_id=user), timeout=DEADLINE)
        desk.update(user, WINDOWS, ONLINE)

        stream = client.watch(user_ids=[user], resume_position=answer.position)

        stream.next("resumed")
        assert stream.next("change").user.status == presence_pb2.PRESENCE_STATUS_ONLINE
