"""MsgServers that are killed, and started again at once: their kernel closes their connections. And some that stand
still: it does not."""

import itertools
import time

from sizes import sizes

# Who is killed together. Primaries of both gateways, with an address of their own and behind the NAT.
VICTIMS = ["a", "d", "b", "ce", "e", "ad"]


@sizes("restarts", [8], [50])
def test_msg_servers_are_killed_and_restarted_at_once(company, judge, restarts):
    company.chat()
    for victims in itertools.islice(itertools.cycle(VICTIMS), restarts):
        first = victims[0]
        with judge.down(*victims):
            company.kill(*victims)
            # Guests do not come back for now, a rover has gone elsewhere.
            company.come_back(*victims)
            company.login(company.rover(first), next(it for it in company.msg_servers if it not in victims))
            judge.assert_presence()
            for name in victims:
                company.login(company.guest(name), name)
            judge.assert_presence()
        company.chat(*victims)
    company.be_quiet()
    judge.assert_messages()
    judge.assert_kicks()


@sizes("seconds", [14], [5, 14, 20])
def test_msg_servers_stand_still_and_lose_nothing(company, judge, seconds):
    company.chat()
    time.sleep(2)
    with company.msg_servers["a"].program.stands_still(), company.msg_servers["e"].program.stands_still():
        time.sleep(seconds)
    time.sleep(2)
    company.be_quiet()
    judge.assert_messages()
    judge.assert_presence()
    assert company.written("ended") == []
    judge.assert_nobody_was_called_offline()
