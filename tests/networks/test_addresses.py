"""MsgServers whose address changes: their old connections die silently, and they connect from the new one."""

import time

from company import NAT_ADDRESSES, OTHER_ADDRESS
from judge import SILENCE_FOUND

# Who logs in twice at once may be kicked twice: nobody is that quick.
A_MOMENT = 0.5


def test_a_host_comes_back_at_another_address(company, judge):
    company.chat()
    time.sleep(2)
    with judge.down("a"):
        company.lose_power("a")
        company.power_on("a", address=OTHER_ADDRESS["a"])
        company.login(company.guest("a"), "a")
        leave_and_move(company, "a")
        judge.assert_presence(SILENCE_FOUND)
        company.login(company.guest("a"), "a")
        judge.assert_presence()
    company.chat("a")
    time.sleep(2)
    company.be_quiet()
    judge.assert_messages()
    judge.assert_kicks()


def test_a_nat_changes_its_address(company, judge):
    company.chat()
    time.sleep(2)
    changed = time.monotonic()
    company.nat.change_address(NAT_ADDRESSES[1])
    for name in "de":
        company.wait(lambda name=name: len(company.written("connected", name)) == 2, f"{name} is back")
    back = time.monotonic()
    leave_and_move(company, "d")
    judge.assert_presence(SILENCE_FOUND)
    company.login(company.guest("d"), "d")
    judge.assert_presence()
    for name in "de":
        judge.may_lose_from(name, changed, back)
        judge.may_lose_to(name, changed, time.monotonic())
    time.sleep(2)
    company.be_quiet()
    judge.assert_messages()
    judge.assert_kicks()


def leave_and_move(company, name):
    """Its guest logs out, and its rover goes elsewhere, while the old connections are still believed in."""
    time.sleep(A_MOMENT)
    company.logout(company.guest(name))
    company.login(company.rover(name), "b")
