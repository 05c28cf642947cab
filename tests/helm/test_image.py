"""The published image: what is in it, that it comes out the same twice, and that it runs as the chart runs it."""

import json
import os
import shutil
import struct
import time

import pytest

import image
from chart import ROOT

# 2024-01-01: any will do, as long as it is always the same.
EPOCH = 1704067200

# Program header that names a dynamic linker.
PT_INTERP = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The image, in a store of its own, and its digest."""
    if obstacle := image.build_obstacle():
        pytest.skip(f"THE IMAGE IS NOT BUILT: {obstacle}")
    builder = image.Builder(tmp_path_factory.mktemp("store"))
    return builder, builder.build(image.binaries(), EPOCH)


def test_two_static_binaries_are_in_it_and_nothing_else(built):
    builder, _ = built
    with builder.mounted() as files:
        assert {it.name for it in files.iterdir()} == {"pdu-gateway", "route-grpc"}
        for binary in files.iterdir():
            assert binary.stat().st_mode & 0o777 == 0o755
            code = binary.read_bytes()
            assert PT_INTERP not in program_headers(code)
            assert b"\0.dep-v0\0" in code, "cargo auditable has written what it was built of"


def test_it_says_how_it_is_to_be_run(built):
    config = built[0].config()
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/pdu-gateway"]
    assert config["Cmd"] == ["--embedded"]
    assert {port.removesuffix("/tcp") for port in config["ExposedPorts"]} == {"8200", "50051", "9464"}


def test_it_comes_out_the_same_twice(built, tmp_path):
    _, digest = built
    again = tmp_path / "stage"
    shutil.copytree(image.binaries(), again)
    # Built at another time, by somebody else.
    for path in [*again.rglob("*")]:
        os.utime(path, (1, 1))
    assert image.Builder(tmp_path / "store").build(again, EPOCH) == digest
    assert image.Builder(tmp_path / "later").build(again, EPOCH + 1) != digest


@pytest.fixture(scope="module")
def runnable(built):
    """The image, on a machine that can run one."""
    if obstacle := image.run_obstacle():
        pytest.skip(f"THE IMAGE IS NOT RUN: {obstacle}")
    return built[0]


def test_it_runs_read_only_without_rights_and_ends_well(runnable, capsys):
    builder = runnable
    config = builder.config()
    with builder.mounted() as files:
        size = sum(it.stat().st_size for it in files.iterdir())
        begun = time.monotonic()
        with image.started(files, config["Entrypoint"] + config["Cmd"], config["User"]) as running:
            said = []
            for line in running.process.stdout:
                said.append(line)
                if json.loads(line)["message"] == "listening for MsgServers":
                    break
            else:
                pytest.fail("".join(said))
            took = time.monotonic() - begun

            checked = running.execute("/route-grpc", "check", "--pdu", "127.0.0.1:8200")
            assert checked.returncode == 0, checked.stdout + checked.stderr
            status = running.status()
            assert status["Uid"].split() == ["65532"] * 4
            assert status["NoNewPrivs"] == "1"
            assert {int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
            assert running.end() == 0
    with capsys.disabled():
        print(f"\nimage: {size / 1e6:.1f} MB, listening {took * 1000:.0f} ms after `runc run`")


def test_both_binaries_are_of_this_version(runnable):
    [version] = [line for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = ")]
    with runnable.mounted() as files:
        for name in ("route-grpc", "pdu-gateway"):
            with image.started(files, [f"/{name}", "--version"], "65532:65532") as running:
                said = running.process.stdout.read()
                assert running.process.wait(image.PATIENCE) == 0
            assert said == f'{name} {version.split(chr(34))[1]}\n'


def program_headers(elf):
    """Types of a 64-bit little-endian ELF file's program headers."""
    assert elf[:6] == b"\x7fELF\x02\x01"
    offset, entry, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    return [struct.unpack_from("<I", elf, offset + entry * index)[0] for index in range(count)]
