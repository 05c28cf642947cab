"""Programs that somebody wrote from the documentation alone, for a first client in Python and one in Node.js.

They start servers of their own, and end with an exception if anything is not as the documentation says.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from server import DEFAULT_FOLDER, FOLDER_VARIABLE

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(__file__).parent / "newcomer"
# Each takes a few seconds, of which a kill and a restart are most.
LIMIT = 120


@pytest.mark.parametrize(
    ("interpreter", "program"), ((sys.executable, "newcomer.py"), ("node", "newcomer.mjs")), ids=("python", "node")
)
def test_a_client_written_from_the_documentation_alone(interpreter, program):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TT_")} | {
        FOLDER_VARIABLE: str(pathlib.Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER)).resolve()),
        "TEST_PROTO_DIR": str(ROOT / "proto"),
        "NODE_PATH": str(ROOT / ".cache" / "node" / "node_modules"),
    }
    ran = subprocess.run(
        [interpreter, PROGRAMS / program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.rstrip().endswith("s passed")
