"""A MsgServer's host that has vanished is noticed within 15 s; one whose MsgServer merely does not read has the whole
write time limit. (Linux' TCP_USER_TIMEOUT does not tell them apart.)"""

import datetime
import json
import time

import pytest
from msgserver import MSG_DATA, ONLINE, WINDOWS, MsgServer, chat_body, frame
from network import Network, NoNetwork
from server import Server

# Beyond what is promised, for a busy machine.
SLACK = 3
NOTICED = 15
WRITE_TIMEOUT = 20
FLAGS = ["--idle-timeout=5m", f"--write-timeout={WRITE_TIMEOUT}s", "--allow-cidr=198.18.0.0/15", "--insecure"]

# More than the buffers of both kernels take, less than a link's queue.
FLOOD = 24 << 20
SMALL_BUFFER = 64 << 10

IDLE, BUSY, STUCK, STUCK_BUT_THERE = 1, 2, 3, 4


@pytest.fixture
def network():
    try:
        network = Network()
    except NoNetwork as error:
        pytest.skip(str(error))
    with network:
        yield network


def test_a_vanished_host_is_noticed_before_one_that_does_not_read_is_given_up(network, tmp_path):
    with Server.start(tmp_path, [network.address, network.other_address], network.run_in, FLAGS) as server:
        from_here = {"own_address": False}
        there, elsewhere = ((address, server.pdu[1]) for address in (network.address, network.other_address))
        idle = MsgServer(there, [(IDLE, WINDOWS, ONLINE)], **from_here)
        busy = MsgServer(there, [(BUSY, WINDOWS, ONLINE)], **from_here)
        stuck = MsgServer(there, [(STUCK, WINDOWS, ONLINE)], receive_buffer=SMALL_BUFFER, **from_here)
        stuck_but_there = MsgServer(
            elsewhere, [(STUCK_BUT_THERE, WINDOWS, ONLINE)], receive_buffer=SMALL_BUFFER, **from_here
        )
        sender = MsgServer(elsewhere, **from_here)
        for msg_server in (idle, busy, stuck, stuck_but_there, sender):
            msg_server.statuses()

        flood(sender, STUCK_BUT_THERE)
        flood(sender, STUCK)
        sender.statuses()
        flooded = time.time()
        network.vanish()
        vanished = time.time()
        flood(sender, BUSY)

        closed = {}
        for msg_server in (idle, busy, stuck, stuck_but_there):
            closed[msg_server] = server.logged(
                lambda line: line["message"] == "link closed" and line["span"]["peer"] == msg_server.address,
                within=WRITE_TIMEOUT + 2 * SLACK,
            )
        for msg_server in (idle, busy, stuck):
            assert closed[msg_server]["reason"] == "IDLE"
            assert moment(closed[msg_server]) - vanished < NOTICED + SLACK
        assert closed[stuck_but_there]["reason"] == "SLOW_READER"
        assert moment(closed[stuck_but_there]) - flooded > WRITE_TIMEOUT - SLACK
        assert sum("the host has vanished" in line for line in server.log().splitlines()) == 3
        sender.close()


def flood(sender, user):
    message = frame(MSG_DATA, chat_body(9, user, bytes(60_000)))
    sender.send_bytes(message * (FLOOD // len(message)))


def moment(line):
    return datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()
