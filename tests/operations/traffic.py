"""Load: numbered messages, questions, logins and logouts of played MsgServers; and whether all of it arrived."""

import collections
import itertools
import threading
import time

from msgserver import MSG_DATA, OFFLINE, ONLINE, chat_body
from msgservers import DESKTOP_LOGIN_NOTICE, STATUS_NOTICE

# How long it takes, at most, until a change is confirmed which everybody has been told of.
CONFIRMED_WITHIN = 1
# Users from here on are guests.
GUESTS = 100_000


class Traffic:
    """Every MsgServer sends numbered messages from its first user to the first users of all others, asks for their
    status, and logs a guest in and out. It may be stopped and go on; guests are others each time."""

    # Messages of one MsgServer a second, and how many of them go with one wake-up.
    RATE = 100
    BURST = 2
    # A guest comes or goes, and a question is asked, with every so many bursts.
    GUEST_EVERY = 3
    ASK_EVERY = 5

    def __init__(self, msgservers):
        # Those that take part; a test may change it while it is stopped.
        self.msgservers = list(msgservers)
        # How many messages were sent, by (sender, receiver).
        self.sent = collections.Counter()
        # The states of each guest since the start, in order, and when.
        self.guests = collections.defaultdict(list)
        # Changes of this time may be told once more by the next node, and not at all if they were overtaken.
        self._lost, self._back = float("inf"), float("-inf")
        self._starts = 0
        self._stopped = threading.Event()
        self._threads = []

    def __enter__(self):
        self._starts += 1
        self._stopped.clear()
        self.guests.clear()
        self._threads = [threading.Thread(target=self._run, args=(it,), daemon=True) for it in self.msgservers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Sends no more; every guest is logged out."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def node_is_lost(self):
        """To be called before it is."""
        self._lost = time.monotonic() - CONFIRMED_WITHIN

    def node_is_back(self):
        """To be called when another one has routed something."""
        self._back = time.monotonic()

    def wait_for_more(self, messages=50):
        """Waits until every MsgServer has received so many more messages from each other one."""
        enough = {(it, sender): len(it.messages[self._pair(it, sender)]) + messages for it, sender in self._pairs()}
        for (it, sender), count in enough.items():
            pair = self._pair(it, sender)
            it.wait(lambda: len(it.messages[pair]) >= count, f"sent {messages} more messages by {sender.name}")

    def wait_until_arrived(self):
        """Waits until the last message of each has arrived everywhere."""
        for it, sender in self._pairs():
            pair = self._pair(it, sender)
            last = self.sent[pair]
            it.wait(lambda: any(number == last for _, number in it.messages[pair]), f"sent message {last} of {pair}")
        for it in self.msgservers:
            it.settle()

    def assert_each_message_came_once(self, in_order=True):
        """`in_order`: no sender has gone on with another connection at once: what comes by two has no order."""
        for it, sender in self._pairs():
            pair = self._pair(it, sender)
            numbers = [number for _, number in it.messages[pair]]
            numbers = numbers if in_order else sorted(numbers)
            assert numbers == list(range(1, self.sent[pair] + 1)), f"{sender.name} to {it.name}: {faults(numbers)}"

    def assert_each_notice_came_once(self, routes=("gateway",)):
        """From each of these routes, since the start, if no node was lost; and nobody but guests came or went."""
        for owner in self.msgservers:
            guest, states = self._guest(owner), [state for _, state in self._changes(owner)]
            for it in self.msgservers:
                it.assert_told(STATUS_NOTICE, guest, dict.fromkeys(routes, states))
            # Of the user's clients this was the first, so it is told of it. Nobody is left to be told of the last.
            owner.assert_told(DESKTOP_LOGIN_NOTICE, guest, dict.fromkeys(routes, [1] * states.count(ONLINE)))
        self._assert_nothing_was_told_of_others()

    def assert_notices_tell_what_is_so(self):
        """Each came once but of changes that were unconfirmed when the node was lost: of these, what is so at last."""
        for owner in self.msgservers:
            changes = self._changes(owner)
            before = [state for at, state in changes if at < self._lost]
            after = [state for at, state in changes if at > self._back]
            unsure = [state for _, state in changes[len(before) : len(changes) - len(after)]]
            guest = self._guest(owner)
            for it in self.msgservers:
                told = [state for _, state in it.notices[STATUS_NOTICE, guest]]
                assert told in possibly_told(before, unsure, after), f"{it.name} of {guest}: {told}"
            told = [state for _, state in owner.notices[DESKTOP_LOGIN_NOTICE, guest]]
            fewest = [1] * (before + after).count(ONLINE)
            assert fewest <= told <= fewest + [1] * (unsure.count(ONLINE) + 1), f"{owner.name} of {guest}: {told}"
        self._assert_nothing_was_told_of_others()

    def _changes(self, owner):
        changes = self.guests[self._guest(owner)]
        assert {ONLINE, OFFLINE} <= {state for _, state in changes}, f"{owner.name} had no guest"
        return changes

    def _assert_nothing_was_told_of_others(self):
        for it in self.msgservers:
            strangers = {user for _, user in it.notices if user < GUESTS}
            assert not strangers, f"{it.name} was told of {strangers}"

    def assert_nobody_was_called_offline(self):
        for it in self.msgservers:
            assert it.answers > 0
            assert it.called_offline == [], it.name

    def _guest(self, it):
        return it.users[0] + GUESTS * self._starts

    def _pair(self, receiver, sender):
        return sender.users[0], receiver.users[0]

    def _pairs(self):
        return [(it, sender) for it in self.msgservers for sender in self.msgservers if it is not sender]

    def _run(self, it):
        me, guest = it.users[0], self._guest(it)
        others = [other.users[0] for other in self.msgservers if other is not it]
        receivers = itertools.cycle(others)
        here = False
        for burst in itertools.count(1):
            if self._stopped.wait(self.BURST / self.RATE):
                break
            for receiver in itertools.islice(receivers, self.BURST):
                self._send(it, me, receiver)
            if burst % self.GUEST_EVERY == 0:
                here = not here
                self._log(it, guest, here)
            if burst % self.ASK_EVERY == 0:
                it.ask([me, *others])
        if here:
            self._log(it, guest, False)

    def _send(self, it, sender, receiver):
        number = self.sent[sender, receiver] + 1
        # What finds nobody to be sent to was not sent: a MsgServer drops it, and so did it with the C++ RouteServer.
        if it.send(MSG_DATA, chat_body(sender, receiver, b"x" * 200, number)):
            self.sent[sender, receiver] = number

    def _log(self, it, guest, here):
        status = ONLINE if here else OFFLINE
        it.update(guest, status)
        self.guests[guest].append((time.monotonic(), status))


def possibly_told(before, unsure, after):
    """Each of `before` and `after` once and in order; of `unsure`, the lost node has told so many, the next one tells
    what is so when it knows everything, and what comes after that. That may be the last that was told, again."""
    last = before[-1:]
    changes = last + unsure
    for told in range(len(last), len(changes) + 1):
        for known in range(max(told - 1, 0), len(changes) + 1):
            if known < len(changes) or told == len(changes):
                yield before[:-1] + changes[:told] + changes[known:] + after


def faults(numbers):
    """What is wrong with a sequence that should be 1, 2, 3 …: for people."""
    count = collections.Counter(numbers)
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    twice = sorted(number for number, times in count.items() if times > 1)
    disorder = [pair for pair in itertools.pairwise(numbers) if pair[0] > pair[1]]
    return f"{len(numbers)} came, missing {missing[:10]}, twice {twice[:10]}, out of order {disorder[:5]}"
