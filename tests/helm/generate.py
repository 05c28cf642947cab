"""Writes the tables that are made from something else: `.cache/helm-venv/bin/python tests/helm/generate.py`.

helm/README.md has a table of the values, made from the `## @param` comments of values.yaml; docs/metrics.md has one of
the metrics, made from the instruments in the sources. Both stand between marks.
"""

import re

import yaml

import sources
from chart import CHART, ROOT

BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
README = CHART / "README.md"
METRICS = ROOT / "docs/metrics.md"

# A value longer than this is not shown.
LONGEST_DEFAULT = 60


def main():
    for path, table in tables().items():
        path.write_text(with_table(path.read_text(), table))


def tables():
    """What stands between the marks of each file."""
    return {README: parameters_table(), METRICS: metrics_table()}


def with_table(text, table):
    """The text with another table between its marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def parameters():
    """The comments of values.yaml: sections of (key, description)."""
    sections = []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if section := re.match(r"\s*## @section (.+)", line):
            sections.append((section.group(1), []))
        elif parameter := re.match(r"\s*## @param (\S+) (.+)", line):
            sections[-1][1].append(parameter.groups())
    return sections


def default(key):
    """A value's default, found by its dotted key."""
    value = yaml.safe_load((CHART / "values.yaml").read_text())
    for part in key.split("."):
        value = value[part]
    return value


def parameters_table():
    lines = []
    for section, entries in parameters():
        lines += [f"### {section}", "", "| value | meaning | default |", "|---|---|---|"]
        lines += [f"| `{key}` | {text} | {shown(default(key))} |" for key, text in entries]
        lines.append("")
    return "\n".join(lines).strip()


def shown(value):
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see `values.yaml`"


def metrics_table():
    titles = {"node": "Node", "gateway": "Gateway", "both": "Every process"}
    lines = []
    for where, title in titles.items():
        lines += [f"### {title}", "", "| metric | kind | meaning |", "|---|---|---|"]
        rows = {it.family: it for it in sources.instruments() if it.where == where}
        lines += [f"| `{family}` | {it.kind} | {it.description} |" for family, it in sorted(rows.items())]
        lines.append("")
    return "\n".join(lines).strip()


if __name__ == "__main__":
    main()
