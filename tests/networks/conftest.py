"""What these tests share: a company's site, in each way of fan-out and of identity."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Frames and stubs are those of the client tests, MsgServers those of the tests of operation.
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("clients", "operations")]

import pytest  # noqa: E402
import stubs  # noqa: E402

stubs.generate()

from company import Company  # noqa: E402
from judge import Judge  # noqa: E402

SHORT = [("directed", "unnamed"), ("broadcast", "named")]
LONG = [*SHORT, ("directed", "named"), ("broadcast", "unnamed")]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="50 restarts, cuts of 40 s, and so on, in all ways")


def pytest_generate_tests(metafunc):
    is_long = metafunc.config.getoption("--long")
    if "company" in metafunc.fixturenames:
        ways = LONG if is_long else SHORT
        metafunc.parametrize("company", ways, indirect=True, ids=map("-".join, ways))
    # A test says what it takes in the short form and in the long one.
    for name, short, long in getattr(metafunc.function, "sizes", ()):
        metafunc.parametrize(name, long if is_long else short)


@pytest.fixture
def company(request, tmp_path):
    fan_out, identity = request.param
    with Company(tmp_path, fan_out, named=identity == "named") as company:
        yield company
        company.assert_servers_are_alive()


@pytest.fixture
def judge(company):
    return Judge(company)
