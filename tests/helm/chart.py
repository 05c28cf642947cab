"""The chart, rendered by helm, and the tools beside this Python."""

import functools
import pathlib
import shutil
import subprocess
import sys

import yaml

from live import api

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
TESTS = ROOT / "tests" / "helm"

# Every scenario; each has a file.
SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))

NAMESPACE = "im"
RELEASE = "tt"
# What a test that is about something else says of who may do what.
INSECURE = "security.insecure=true"


def tool(name):
    """The path of a tool that requirements.txt or `run` has installed."""
    beside = pathlib.Path(sys.executable).parent / name
    extracted = ROOT / ".cache/promtool/usr/bin" / name
    for path in (beside, extracted, shutil.which(name)):
        if path and pathlib.Path(path).exists():
            return str(path)
    raise FileNotFoundError(f"{name} is not installed: tests/helm/run installs it")


def run(name, *arguments, input=""):
    """Runs a tool to its end; its output is in the result."""
    return subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, input=input)


def template(*arguments, chart=CHART):
    """What `helm template` says, well or badly."""
    return run("helm", "template", RELEASE, chart, "--namespace", NAMESPACE, *arguments)


def upgrade(live, *arguments):
    """What `helm upgrade` would say of a release that has these Deployments."""
    with api(live, NAMESPACE) as address:
        return template("--is-upgrade", "--dry-run=server", "--kube-apiserver", address, *arguments)


@functools.cache
def text_of(scenario):
    """A scenario's manifests, as helm prints them."""
    rendered = template("--values", CHART / "ci" / f"{scenario}-values.yaml")
    assert rendered.returncode == 0, rendered.stderr
    return rendered.stdout


def objects_of(scenario):
    """A scenario's manifests."""
    return [document for document in yaml.safe_load_all(text_of(scenario)) if document]


def render(*settings):
    """Manifests for settings such as `mode=embedded`."""
    rendered = template(*words(settings))
    assert rendered.returncode == 0, rendered.stderr
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def refusal(*settings):
    """Why helm refuses settings."""
    rendered = template(*words(settings))
    assert rendered.returncode != 0, f"accepted: {settings}"
    return rendered.stderr


def words(settings):
    """Settings as helm's command line has them: with INSECURE, unless they say something of security, or have no node."""
    said = any(it.startswith("security.") or it == "mode=gateways" for it in settings)
    return [word for it in (*(() if said else (INSECURE,)), *settings) for word in ("--set", it)]


def find(objects, kind, suffix):
    """The one object of a kind whose name ends so, or None."""
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)]
    assert len(found) <= 1, f"{len(found)} of {kind} {suffix}"
    return found[0] if found else None


def workloads(objects):
    """Deployments."""
    return [it for it in objects if it["kind"] == "Deployment"]


def container(workload):
    """The container of ours in a Deployment or a Pod: in one scenario there is another one behind it."""
    spec = workload["spec"]
    own, *_ = spec["template"]["spec"]["containers"] if "template" in spec else spec["containers"]
    return own


def flags(workload):
    """The flags of a container: name to list of values."""
    given = {}
    for argument in container(workload).get("args", []):
        if argument.startswith("--"):
            name, _, value = argument.removeprefix("--").partition("=")
            given.setdefault(name, []).append(value)
    return given
