"""Networks that are cut, between a gateway and the node, or in one direction only."""

import itertools
import time

import pytest
from judge import SILENCE_FOUND
from sizes import sizes

# Of the node: --gateway-silence, and until somebody has looked; and --detach-grace.
GATEWAY_IS_SILENT = 2
DETACH_GRACE = 10
# Of a gateway and of a MsgServer, until it closes a connection on which nothing arrives.
HOST_TIMEOUT = 15
MSG_SERVER_S_PATIENCE = 30


@sizes("seconds", [3, 15], [3, 15, 40])
def test_a_gateway_is_cut_off_from_its_node(company, judge, seconds):
    company.chat()
    time.sleep(2)
    cut = time.monotonic()
    company.router.cut(company.gateways["one"], company.node)
    rove(company, seconds)
    company.router.heal()
    if seconds > DETACH_GRACE:
        # The gateway is given up. What it had been handed may have been written: it does not come again.
        for name in "acd":
            judge.may_lose_to(name, cut, cut + GATEWAY_IS_SILENT)
    assert_nobody_noticed(company, judge, in_order=seconds < DETACH_GRACE)


def assert_nobody_noticed(company, judge, in_order=True):
    """That what is sent after the cut arrives, too, and nothing of it was seen."""
    time.sleep(2)
    company.be_quiet()
    judge.assert_messages(in_order)
    judge.assert_presence()
    judge.assert_kicks()
    judge.assert_nobody_was_called_offline()


@pytest.mark.parametrize("way", ["to-gateway", "from-gateway"])
def test_a_moment_in_one_direction_loses_nothing(company, judge, way):
    company.chat()
    time.sleep(2)
    lose(company, way, "a")
    lose(company, way, "nat")
    rove(company, 5)
    company.router.heal()
    assert_nobody_noticed(company, judge)


@pytest.mark.parametrize("way", ["to-gateway", "from-gateway"])
def test_a_claimed_connection_is_cut_in_one_direction(company, judge, way):
    company.chat()
    time.sleep(2)
    cut = time.monotonic()
    lose(company, way, "a")
    # What is in the kernels' buffers of the connection goes with it.
    company.wait(lambda: company.written("ended", "a"), "noticed", 2 * MSG_SERVER_S_PATIENCE)
    [(ended, *_)] = company.written("ended", "a")
    judge.may_lose_from("a", cut, ended)
    judge.may_lose_to("a", cut, cut + HOST_TIMEOUT)
    rove(company, 3)
    company.be_quiet()
    judge.assert_presence(SILENCE_FOUND)
    judge.assert_messages()
    judge.assert_kicks()
    judge.assert_nobody_was_called_offline()
    company.router.heal()
    company.wait(lambda: len(company.written("connected", "a")) == 1, "back")
    judge.assert_presence()


def lose(company, way, name):
    """Between this one and the first gateway."""
    host, gateway = company.nat if name == "nat" else company.msg_servers[name].host, company.gateways["one"]
    if way == "to-gateway":
        company.router.lose(host, gateway)
    else:
        company.router.lose(gateway, host)


def rove(company, seconds):
    """For so long, users log in now here and now there."""
    until = time.monotonic() + seconds
    homes = itertools.cycle("badec")
    for rover in itertools.cycle("abcde"):
        if time.monotonic() > until:
            break
        company.login(company.rover(rover), next(homes))
        time.sleep(0.37)
