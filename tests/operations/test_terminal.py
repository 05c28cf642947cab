"""What operators see in a terminal: tables, `migrate` and `top`; narrow, wide, without colours, without a node."""

import contextlib
import json
import re
import socket
import subprocess
import time

import pytest
from binaries import binary
from server import Server
from terminal import Terminal


@pytest.fixture
def site(tmp_path):
    """Starts a server whose admin port is always the same socket."""
    socket = f"unix:{tmp_path}/admin.sock"
    running = []

    def start():
        running.append(Server.start(tmp_path, flags=[f"--admin-grpc-listen={socket}"]))
        return running[-1]

    start.socket = socket
    yield start
    for it in running:
        it.close()


@contextlib.contextmanager
def terminal(site, *arguments, columns=120, lines=20, **environment):
    command = [binary("route-grpc"), *arguments, f"--admin-address={site.socket}"]
    shown = Terminal(command, columns, lines, **environment)
    try:
        yield shown
    finally:
        shown.close()


def links(site):
    """All links, as objects."""
    command = [binary("route-grpc"), "links", "--json", f"--admin-address={site.socket}"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return [json.loads(line) for line in shown.splitlines()]


def colours(shown):
    """Numbers of the colours that were chosen, but for the usual ones."""
    chosen = re.findall(rb"\x1b\[([0-9;]*)m", shown.raw)
    numbers = {int(number) for it in chosen for number in it.split(b";")[:1] if number}
    return numbers & {*range(30, 39), *range(40, 49), *range(90, 108)}


def route(server):
    def connect(address, limit):
        return socket.create_connection(server.pdu, limit, (address, 0))

    return connect


def at_work(site, msgservers):
    server = site()
    made = msgservers(2, gateway=route(server))
    for it in made:
        it.wait_until_connected()
    return server, made


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_fit_into_the_terminal(site, msgservers, columns):
    _, made = at_work(site, msgservers)
    ids = [link[name] for link in links(site) for name in ("link", "msgServer", "gatewayId")]
    assert len(ids) == 3 * len(made)
    with terminal(site, "links", columns=columns) as shown:
        shown.shows("LINK")
        assert shown.end() == 0
        lines = [line for line in shown.lines() if line]
    # Ids are never cut, nor continued in the next line: what is too wide has a line for each cell.
    assert all(any(it in line for line in lines) for it in ids), lines
    assert (len(lines) == 1 + len(made)) == (columns > 60), lines
    assert ("NOTES" in lines[0]) == (columns > 100), lines
    with terminal(site, "migrate", "--expect=" + ",".join(it.address for it in made), columns=columns) as shown:
        shown.shows("Safe to stop the old server.")
        assert shown.end() == 0


def test_top_follows_the_site_until_somebody_quits(site, msgservers):
    _, made = at_work(site, msgservers)
    with terminal(site, "top", "--interval=1s") as shown:
        for it in made:
            shown.shows(it.address)
        shown.shows("by rate")
        shown.press("s")
        shown.shows("by sessions")
        shown.resize(60, 12)
        lines = shown.wait_for(lambda lines: any(line.startswith("q quit") for line in lines[-1:]), "the last line")
        assert len(lines) == 12
        assert colours(shown)
        shown.press("q")
        assert shown.end() == 0
        # The terminal is as it was.
        assert b"\x1b[?1049l" in shown.raw


def test_top_without_colours(site, msgservers):
    at_work(site, msgservers)
    with terminal(site, "top", NO_COLOR="1") as shown:
        shown.shows("GATEWAY")
        shown.press("q")
        assert shown.end() == 0
        assert colours(shown) == set()


def test_top_waits_for_a_node_that_is_lost(site, msgservers):
    server, _ = at_work(site, msgservers)
    with terminal(site, "top", "--interval=1s") as shown:
        shown.shows("links 2")
        server.kill()
        shown.shows("the node is away")
        site()
        lines = shown.shows("links 0")
        assert not any("the node is away" in line for line in lines)
        shown.press("\x03")
        assert shown.end() == 0


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_migrate_waits_for_a_node_that_is_lost(site, msgservers, flags):
    server, made = at_work(site, msgservers)
    # None is here when it begins.
    for it in made:
        it.close()
    while links(site):
        time.sleep(0.05)
    expect = "--expect=" + ",".join(it.address for it in made)
    with terminal(site, "migrate", expect, "--wait=60s", *flags, columns=500) as shown:
        server.kill()
        shown.shows("the node is away, trying again: ")
        server = site()
        told = [line for line in shown.shows("the node is back") if line]
        if flags:
            told = [json.loads(line)["warning"] for line in told]
        assert len(told) == 2, told
        for it in made:
            it.start(gateway=route(server))
        assert shown.end() == 0
        assert any("Safe to stop" in line for line in shown.lines()) != bool(flags)


def test_without_a_node_there_is_no_screen(site):
    with terminal(site, "top") as shown:
        assert shown.end() == 3
        assert any("no node answers" in line for line in shown.lines())
        assert b"\x1b[?1049h" not in shown.raw
