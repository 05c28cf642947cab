"""Pages, units and the image's build file: what they name exists."""

import os
import pathlib
import re
import subprocess

import pytest
import yaml

import generate
import sources
from chart import CHART, ROOT
from pods import needs_binaries

DOCS = ROOT / "docs"
PAGES = [it for it in sorted(DOCS.glob("*.md")) if it.name != "legacy-protocol.md"] + [CHART / "README.md"]
UNITS = sorted(DOCS.glob("systemd/*.service"))
DOCKERFILE = ROOT / "Dockerfile"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)

TESTS_WITH_VARIABLES = [
    "route-grpc/tests/api/changed_sets.rs",
    "tests/src/deployment/process.rs",
    "tests/tests/hostile/noise.rs",
    "tests/tests/interruptions/stops.rs",
    "tests/tests/memory.rs",
]

# Of other people's programs, and of scripts.
FOREIGN_FLAGS = set(
    "test workspace check nocapture namespace create-namespace replicas set set-file set-string reuse-values reset-then-reuse-values previous tail prefix release locked target bins now build-arg help version logs atomic for timeout raw from-file test-threads long ignored python_out grpc_python_out".split()
)


def our_flags():
    return sources.flags(*sources.SETTINGS, sources.LOG_SETTINGS)


def command_flags():
    load_tool = ROOT / "tests/src/bin/route-load/cli.rs"
    return sources.flags(*sources.CLI.rglob("*.rs"), load_tool)


@every_page
def test_flags_exist(page):
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z_-]+)", page.read_text()))
    assert named - FOREIGN_FLAGS - our_flags() - command_flags() == set()


@every_page
def test_environment_names_exist(page):
    for name in re.findall(r"\bTT_[A-Z_]+[A-Z]\b", page.read_text()):
        assert_environment_name(name)


def assert_environment_name(name):
    tests = "".join((ROOT / it).read_text() for it in TESTS_WITH_VARIABLES)
    assert f'"{name}"' in sources.settings() + sources.commands() + tests, name


@every_page
def test_subcommands_exist(page):
    named = set(re.findall(r"\broute-grpc (?!pdu-gateway)([a-z][a-z-]*)\b", page.read_text()))
    assert named <= sources.subcommands()


@every_page
def test_values_exist(page):
    for key in re.findall(r"`((?:node|gateway|pods|image|security|networkPolicy|monitoring)\.[A-Za-z.]+)", page.read_text()):
        generate.default(key)
    for setting in re.findall(r"--set '?([a-zA-Z.]+)=", page.read_text()):
        generate.default(setting)


@every_page
def test_files_exist(page):
    text = page.read_text()
    for path in re.findall(r"`((?:docs|helm|proto|tests)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`([\w-]+\.md)`", text):
        assert (DOCS / path).exists() or (ROOT / path).exists(), path


@every_page
def test_lines_are_not_long(page):
    inside_table = re.compile(r"^\s*\||^- ")
    for line in page.read_text().split(generate.BEGIN)[0].splitlines():
        assert len(line) <= 140 or inside_table.match(line), line


def test_pages_quote_defaults_that_are_true():
    code = sources.settings()
    for page in PAGES:
        for flag, value in re.findall(r"`--([a-z-]+)` \((\d+ ?\w+)\)", page.read_text()):
            env = flag.replace("-", "_").upper()
            [default] = re.findall(rf'TT_(?:ROUTE|GATEWAY)_{env}".*?default_value(?:_t)? = "?([\w]+)', code, re.DOTALL)[:1]
            assert default.replace("_", "") == value.replace(" ", ""), f"{page.name}: {flag}"


# Units


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_allow_the_drain_and_name_their_settings(unit):
    text = unit.read_text()
    code = sources.settings()
    deadlines = re.findall(r'TT_(?:ROUTE|GATEWAY)_SHUTDOWN_DEADLINE".*?default_value = "(\d+)s"', code)

    assert len(deadlines) == 2
    [allowed] = re.findall(r"TimeoutStopSec=(\d+)", text)
    assert int(allowed) >= max(map(int, deadlines)) + 15
    assert f"/etc/teamtalk-route/{unit.stem}.env" in text
    assert f"/usr/local/bin/{unit.stem}" in text
    for name in re.findall(r"^#?(TT_\w+)=", (unit.with_suffix(".env")).read_text(), re.MULTILINE):
        assert_environment_name(name)


# The image


def test_the_image_is_what_the_chart_expects():
    final = DOCKERFILE.read_text().split("FROM scratch")[1]
    assert "USER 65532:65532" in final
    assert 'ENTRYPOINT ["/pdu-gateway"]' in final
    assert "EXPOSE 8200 50051 9464" in final
    assert "RUN" not in final
    toolchain = re.search(r'channel = "([\d.]+)"', (ROOT / "rust-toolchain.toml").read_text()).group(1)
    assert f"rust:{toolchain}-" in DOCKERFILE.read_text()


def test_the_build_has_every_member_of_the_workspace():
    workspace = (ROOT / "Cargo.toml").read_text()
    members = re.search(r"members = \[(.*?)\]", workspace, re.DOTALL).group(1)
    for member in re.findall(r'"([\w/-]+)"', members):
        assert re.search(rf"^COPY {member.split('/')[0]} ", DOCKERFILE.read_text(), re.MULTILINE), member


def test_the_chart_s_address_of_images_is_nobody_s():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["image"]["repository"].startswith("localhost/")


# Dialects

DIALECTS = DOCS / "dialects.md"


def test_the_page_of_dialects_has_every_command_and_field():
    text = DIALECTS.read_text()
    ids = dict(re.findall(r"pub const (\w+): u16 = (0x[0-9a-f]+);", (ROOT / "proto/src/pdu.rs").read_text()))
    source = sources.production(ROOT / "proto/dialect/src/command.rs")
    commands = [(name, ids[constant]) for name, constant in re.findall(r'"(\w+)",\s*id::(\w+)', source)]
    assert len(commands) == len(re.findall(r"^    /// `IM", source, re.MULTILINE))
    assert re.findall(r"^\| `(\w+)` \| (0x\w{4}) \|", text, re.MULTILINE) == commands

    source = re.sub(r"//.*", "", (ROOT / "proto/dialect/src/fields.rs").read_text().split("const PUBLISHED")[1])
    tables = re.findall(r'\(\s*"(\w+)",\s*&\[(.*?)\],?\s*\)', source, re.DOTALL)
    fields = {message: re.findall(r'\("(\w+)", (\d+), ', table) for message, table in tables}
    rows = re.findall(r"^\| `(\w+)` \| `\w+` \| (.*) \|$", text, re.MULTILINE)
    assert {message: re.findall(r"`(\w+)` (\d+)", row) for message, row in rows} == fields


def test_the_page_of_dialects_shows_what_is_built_in():
    text = DIALECTS.read_text()
    folder = ROOT / "proto/dialect/dialects"
    assert set(re.findall(r"^\| `([\w-]+)` \| [^|]*\|$", text.split("## Write one")[0], re.MULTILINE)) == {
        path.stem for path in folder.glob("*.toml")
    }
    shown = "".join(f"    {line}".rstrip() + "\n" for line in (folder / "0x08xx.toml").read_text().splitlines())
    assert shown in text


@needs_binaries
@pytest.mark.parametrize("definition", sorted(DOCS.glob("dialects/*.toml")), ids=lambda path: path.name)
def test_definitions_are_taken(definition, tmp_path):
    def said(path):
        gateway = pathlib.Path(os.environ["TEST_BIN_DIR"]) / "pdu-gateway"
        return subprocess.run([gateway, "--dialect", path], capture_output=True, text=True, env={}).stderr

    assert "either --embedded or --upstream <URL> is needed" in said(definition)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(definition.read_text() + "[fields.user_status]\nstate = 2\n")
    assert 'fields.user_status: "state" is none of user_id, status' in said(wrong)


def test_the_threat_model_names_tests_that_there_are():
    page = (ROOT / "docs/threat-model.md").read_text()
    named = re.findall(r"`(\w+)::(\w+)`", page.split("## Who may do what")[1].split("\n## ")[0])
    assert len(named) > 9
    for module, name in named:
        source = (ROOT / f"route-grpc/tests/api/access/{module}.rs").read_text()
        assert f"async fn {name}()" in source, f"{module}::{name}"
