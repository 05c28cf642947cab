"""Whether all went as promised, from the journal: what MsgServers were sent and told."""

import collections
import contextlib
import time

from company import MSG_SERVERS
from msgserver import OFFLINE, ONLINE

# Nothing has to be found out: what happened is known at once, and a seat ends.
AT_REST = 2
# A connection is dead, and has to be found silent before.
SILENCE_FOUND = 14
# Beyond that, for a busy machine.
SLACK = 2
# What was sent so long before a connection died may have been in the kernels' buffers, or in a player's own.
IN_FLIGHT = 1
# By how much a login that is later than another has to be later, for the order to be known.
CLOCKS_ERR = 0.1
# Until what was held up has come.
ARRIVES_WITHIN = 20
# Until what comes twice has come twice.
COMES_TWICE_WITHIN = 1
POLL = 0.2


class Judge:
    """Of one company. What may be lost is said by the test, and why."""

    def __init__(self, company):
        self.company = company
        self._lossy = []

    @contextlib.contextmanager
    def down(self, *names):
        """Inside, these MsgServers die without a word, and come back. What they had sent may be lost on its way, and so may
        what is sent to them until their users are known to be back."""
        begin = time.monotonic()
        yield
        for name in names:
            self.may_lose_from(name, begin, time.monotonic())
            self.may_lose_to(name, begin, time.monotonic())

    def may_lose_from(self, name, begin, end=float("inf")):
        """What this MsgServer sent in this time."""
        self._lossy.append(("from", name, begin - IN_FLIGHT, end))

    def may_lose_to(self, name, begin, end=float("inf")):
        """What was sent to this MsgServer in this time."""
        self._lossy.append(("to", name, begin - IN_FLIGHT, end))

    def assert_presence(self, within=AT_REST):
        """That everybody is told the truth, in time: those who ask, and those who wait for notices."""
        company, expected = self.company, set(self.company.homes)
        deadline = time.monotonic() + within + SLACK
        while True:
            wrong = {name: differ(company.ask(name), expected) for name in MSG_SERVERS}
            wrong["the API"] = differ(company.ask_service(), expected)
            wrong |= {f"notices to {name}": differ(held, expected - company.vanished) for name, held in self._held()}
            wrong = {who: what for who, what in wrong.items() if what}
            if not wrong:
                return
            assert time.monotonic() < deadline, f"{within} s after the last change: {wrong}"
            time.sleep(POLL)

    def assert_messages(self, in_order=True):
        """That each came once, and none to its sender. To be called when nobody sends any more."""
        deadline = time.monotonic() + ARRIVES_WITHIN
        while self._missing() and time.monotonic() < deadline:
            time.sleep(POLL)
        time.sleep(COMES_TWICE_WITHIN)
        missing = self._missing()
        assert not missing, f"{len(missing)} were lost: {times(missing)}"
        sent, got = self._sent(), self._got()
        assert sent, "nothing was sent"
        twice = {key: at for key, at in got.items() if len(at) > 1}
        assert not twice, f"{len(twice)} came twice: {list(twice.items())[:5]}"
        strange = [(key, to) for key, to in got if to not in self._receivers(key, sent)]
        assert not strange, f"{len(strange)} came where they should not: {strange[:5]}"
        if in_order:
            self._assert_order(sent, got)

    def assert_kicks(self):
        """That no login was kicked by itself, or by an earlier one, or twice."""
        logins = {number: (at, name, user) for at, name, _, _, user, number in self.company.written("login")}
        seen = set()
        for at, name, life, _, user, number, _ in self.company.written("kick"):
            made_at, made_by, _ = logins[number]
            assert made_by != name, f"{name} was told to kick user {user} by its own login"
            assert (name, number) not in seen, f"{name} was told twice to kick user {user}"
            seen.add((name, number))
            here = [it[0] for it in self.company.written("login", name) if it[4] == user and it[2] == life and it[0] < at]
            assert all(it < made_at + CLOCKS_ERR for it in here), f"{name} was told late to kick user {user}"

    def assert_nobody_was_called_offline(self):
        """Of those who were there all the time."""
        residents = {user for name in MSG_SERVERS for user in self.company.residents(name)}
        for _, name, _, _, user, status in self.company.written("notice"):
            assert user not in residents or status != OFFLINE, f"{name} was told that user {user} is offline"
        for _, name, _, _, _, statuses in self.company.written("answer"):
            wrong = [user for user, status in statuses if user in residents and status == OFFLINE]
            assert not wrong, f"{name} was answered that {wrong} are offline"

    def _held(self):
        """Whom each MsgServer holds to be online by what its present life was told: the first answer, then notices. At the
        beginning, everybody is."""
        for name, it in self.company.msg_servers.items():
            held = set(self.company.users()) if it.life == 1 else None
            for _, _, life, kind, *what in self._of(name):
                if life != it.life:
                    continue
                if kind == "answer" and held is None:
                    held = {user for user, status in what[1] if status == ONLINE}
                elif kind == "notice" and held is not None:
                    user, status = what
                    (held.discard if status == OFFLINE else held.add)(user)
            yield name, (held or set()) - self.company.vanished

    def _of(self, name):
        with self.company.changed:
            return [it for it in self.company.journal if it[1] == name and it[3] in ("answer", "notice")]

    def _sent(self):
        """(time, receiving user) by (MsgServer, number)."""
        return {(name, number): (at, to) for at, name, _, _, _, to, number, _ in self.company.written("sent")}

    def _got(self):
        """When each came, by ((MsgServer, number), receiving MsgServer)."""
        got = collections.defaultdict(list)
        for at, name, _, _, sender, _, number, _ in self.company.written("got"):
            got[(self._home(sender), number), name].append(at)
        return got

    def _missing(self):
        sent, got = self._sent(), self._got()
        return [
            (at, key, to)
            for key, (at, _) in sent.items()
            for to in self._receivers(key, sent)
            if (key, to) not in got and not self._may_be_lost(key[0], to, at)
        ]

    def _receivers(self, key, sent):
        if self.company.fan_out == "broadcast":
            return [name for name in MSG_SERVERS if name != key[0]]
        return [self._home(sent[key][1])] if key in sent else []

    def _may_be_lost(self, sender, receiver, at):
        return any(
            name == {"from": sender, "to": receiver}[way] and begin <= at <= end for way, name, begin, end in self._lossy
        )

    def _home(self, resident):
        return next(name for name in MSG_SERVERS if resident in self.company.residents(name))

    def _assert_order(self, sent, got):
        last = {}
        for (key, to), [at] in sorted(got.items(), key=lambda it: it[1]):
            way = key[0], to
            assert last.get(way, 0) < key[1], f"{key} came to {to} after {last[way]}, at {at}"
            last[way] = key[1]


def differ(found, expected):
    """What is wrong, for people."""
    if found is None:
        return "no answer"
    wrong = {"offline, wrongly": sorted(expected - found), "online, wrongly": sorted(found - expected)}
    return {how: users for how, users in wrong.items() if users}


def times(missing):
    """Of what was lost: how many by sender and receiver, and when the first and the last were sent."""
    ways = collections.defaultdict(list)
    for at, (name, _), to in missing:
        ways[f"{name} to {to}"].append(round(at, 2))
    return {way: (len(at), min(at), max(at)) for way, at in ways.items()}
