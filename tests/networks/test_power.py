"""Hosts that lose power: nothing is sent any more, not even the end of a connection. Then they are back, with a fresh
MsgServer that knows nobody."""

import time

from judge import SILENCE_FOUND
from sizes import sizes


@sizes("seconds", [3, 10], [3, 10, 20])
def test_hosts_lose_power_and_are_back(company, judge, seconds):
    company.chat()
    time.sleep(2)
    with judge.down("a", "e"):
        company.lose_power("a", "e")
        time.sleep(1)
        # Clients that come back elsewhere before anybody knows.
        company.login(company.rover("a"), "b")
        company.login(company.rover("e"), "d")
        time.sleep(seconds - 1)
        company.power_on("a", "e")
        judge.assert_presence(SILENCE_FOUND)
        company.login(company.guest("a"), "a")
        company.login(company.guest("e"), "e")
        judge.assert_presence()
    company.chat("a", "e")
    time.sleep(2)
    company.be_quiet()
    judge.assert_messages()
    judge.assert_kicks()
