"""What the Rust sources declare: instruments, flags, subcommands, health names."""

import dataclasses
import re

from chart import ROOT

NODE_SETTINGS = ROOT / "route-grpc/src/settings/mod.rs"
SECURITY_SETTINGS = ROOT / "route-grpc/src/settings/security.rs"
ENGINE_SETTINGS = ROOT / "route-grpc/src/settings/engine.rs"
SERVE_SETTINGS = ROOT / "route-grpc/cli/src/serve.rs"
GATEWAY_SETTINGS = ROOT / "pdu-gateway/src/process/settings.rs"
UPSTREAM_TLS_SETTINGS = ROOT / "pdu-gateway/src/process/settings/tls.rs"
LOG_SETTINGS = ROOT / "route-grpc/runtime/src/telemetry/logs.rs"
HEALTH = ROOT / "route-grpc/src/server/health.rs"
SETTINGS = [NODE_SETTINGS, SECURITY_SETTINGS, ENGINE_SETTINGS, SERVE_SETTINGS, GATEWAY_SETTINGS, UPSTREAM_TLS_SETTINGS]
CLI = ROOT / "route-grpc/cli/src"
COMMANDS = CLI / "main.rs"

INSTRUMENT_FILES = {
    "node": [f"route-grpc/src/{it}.rs" for it in ("metrics", "node/observed", "access/counts", "leadership/counts", "metrics/passed_on")],
    "gateway": ["pdu-gateway/src/metrics.rs"],
    "both": [f"route-grpc/runtime/src/telemetry/{it}.rs" for it in ("metrics", "process", "runtime", "spans_out")],
}

# As opentelemetry-prometheus does: a unit in braces adds nothing.
UNITS = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
NAME = re.compile(r'"((?:teamtalk|process|rpc)\.[a-z0-9_.]+)"')
KIND = re.compile(r"(histogram|counter|gauge)\(|(Tally::declare|labelled)\(|const (COUNTERS|LEVELS)")


@dataclasses.dataclass(frozen=True)
class Instrument:
    """One instrument as it is declared."""

    name: str
    unit: str
    description: str
    kind: str
    where: str

    @property
    def family(self):
        """Its name in a scrape."""
        family = self.name.replace(".", "_") + UNITS.get(self.unit, "")
        return family + "_total" if self.kind == "counter" else family

    @property
    def series(self):
        """The names of its samples."""
        if self.kind == "histogram":
            return [self.family + part for part in ("_bucket", "_sum", "_count")]
        return [self.family]


def instruments():
    """All instruments of both binaries."""
    return [
        instrument
        for where, files in INSTRUMENT_FILES.items()
        for file in files
        for instrument in declared(where, production(ROOT / file))
    ]


def production(path):
    """A source file without its tests."""
    return path.read_text().split("#[cfg(test)]")[0]


def declared(where, source):
    """The instruments of one file: each is a name, then a unit, then a description, all as literals."""
    for found in NAME.finditer(source):
        following = LITERAL.finditer(source, found.end())
        if source[: found.start()].rstrip().endswith("KeyValue::new("):
            continue  # a label
        unit, description = (next(following).group(1) for _ in range(2))
        histogram, helper, table = list(KIND.finditer(source, 0, found.start()))[-1].groups()
        kind = histogram or {"COUNTERS": "counter", "LEVELS": "gauge"}.get(table, "counter" if helper else None)
        yield Instrument(found.group(1), unit, description, kind, where)


def flags(*paths):
    """The flags that clap makes of the fields with `#[arg(long …)]` in these files."""
    names = set()
    for path in paths:
        for attribute, field in re.findall(
            r"#\[arg\(((?:[^()]|\([^()]*\))*)\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))? )?(\w+):", production(path)
        ):
            if re.search(r"\blong\b", attribute):
                given = re.search(r'long = "([^"]+)"', attribute)
                names.add(given.group(1) if given else field.replace("_", "-"))
    return names


def settings():
    """The sources of all flags that have an environment name."""
    return "".join(it.read_text() for it in SETTINGS)


def subcommands():
    """What `route-grpc` can be told to do."""
    [variants] = re.findall(r"enum Command \{(.*?)\n\}", COMMANDS.read_text(), re.DOTALL)
    names = re.findall(r"^    ([A-Z]\w+)\(", variants, re.MULTILINE)
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() for name in names}


def commands():
    """The sources of all commands."""
    return "".join(it.read_text() for it in sorted(CLI.rglob("*.rs")))


def health_names():
    """The names that grpc.health.v1 knows, but for those of the API's services."""
    return set(re.findall(r'"([a-z]*)"', production(HEALTH)))
