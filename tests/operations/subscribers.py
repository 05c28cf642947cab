"""New services that follow what happens, and come back with their position when their stream ends."""

import itertools
import threading

import grpc
from kubelet.probe import OPTIONS
from teamtalk.route.v1 import broadcast_pb2, broadcast_pb2_grpc, presence_pb2, presence_pb2_grpc, stream_pb2

# Before the Service is asked again for a node that is ready.
RETRY = 0.1
PATIENCE = 60


class Follower:
    """Reads a stream for as long as it is there. `connect` says where, or raises OSError."""

    def __init__(self, connect):
        # Why each stream ended.
        self.ends = []
        # Kinds of messages in order, watermarks left out: how often the stream began, resumed, had gaps.
        self.marks = []
        self._connect = connect
        self._position = ""
        self._call = None
        self._closed = threading.Event()
        self._changed = threading.Condition()
        threading.Thread(target=self._follow, daemon=True).start()

    def wait(self, condition, why):
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"never {why}: {self.marks}, {self.ends}"

    def close(self):
        self._closed.set()
        if self._call:
            self._call.cancel()

    def _follow(self):
        while not self._closed.is_set():
            try:
                host, port = self._connect()
            except OSError:
                self._closed.wait(RETRY)
                continue
            with grpc.insecure_channel(f"{host}:{port}", OPTIONS) as channel:
                self._read(channel)
            self._closed.wait(RETRY)

    def _read(self, channel):
        try:
            self._call = self._open(channel, self._position)
            for response in self._call:
                with self._changed:
                    # Empty inside a snapshot, which begins anew if it breaks off.
                    self._position = response.position or self._position
                    self._take(response.WhichOneof("message"), response)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            with self._changed:
                self.ends.append(error.code().name)
                self._changed.notify_all()


class Subscriber(Follower):
    """Follows chat messages."""

    def __init__(self, connect):
        # For each stretch of events without a gap: message ids by (sender, receiver), in order.
        self.stretches = [{}]
        self.gap_reasons = []
        super().__init__(connect)

    def _open(self, channel, position):
        kinds = [broadcast_pb2.EVENT_KIND_CHAT_MESSAGE]
        request = broadcast_pb2.SubscribeRequest(filters=[{"kinds": kinds}], resume_position=position)
        return broadcast_pb2_grpc.BroadcastServiceStub(channel).Subscribe(request)

    def _take(self, kind, response):
        if kind == "event":
            chat = response.event.chat_message
            self.stretches[-1].setdefault((chat.from_user_id, chat.to_id), []).append(chat.message_id)
        elif kind != "watermark":
            self.marks.append(kind)
        if kind == "gap":
            self.gap_reasons.append(stream_pb2.GapReason.Name(response.gap.reason))
            self.stretches.append({})


    def saw_the_last(self, sent):
        """Whether the newest message of each pair has come, given how many there are."""
        return all(number in self.stretches[-1].get(pair, ())[-1:] for pair, number in sent.items())

    def assert_nothing_came_twice(self):
        """Between gaps. A new node may show again what its predecessor had shown last, and had not confirmed."""
        self._assert_steps(lambda a, b: a < b)

    def assert_nothing_is_missing(self):
        """Between gaps."""
        self._assert_steps(lambda a, b: b <= a + 1)

    def _assert_steps(self, holds):
        for stretch in self.stretches:
            for pair, numbers in stretch.items():
                wrong = [step for step in itertools.pairwise(numbers) if not holds(*step)]
                assert not wrong, f"{pair}: {wrong}"


class Watcher(Follower):
    """Follows who is online."""

    def __init__(self, connect, users):
        self.users = users
        # Each snapshot: the users in it.
        self.snapshots = []
        # Users that a change called offline.
        self.went_offline = []
        super().__init__(connect)

    def _open(self, channel, position):
        request = presence_pb2.WatchUserStatusRequest(user_ids=self.users, resume_position=position)
        return presence_pb2_grpc.PresenceServiceStub(channel).WatchUserStatus(request)

    def _take(self, kind, response):
        if kind == "snapshot_begin":
            self.snapshots.append(set())
        elif kind == "snapshot":
            self.snapshots[-1] |= {user.user_id for user in response.snapshot.users}
        elif kind == "change" and response.change.user.status == presence_pb2.PRESENCE_STATUS_OFFLINE:
            self.went_offline.append(response.change.user.user_id)
        if kind not in ("watermark", "snapshot", "change"):
            self.marks.append(kind)
