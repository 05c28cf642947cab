"""What other people's tools say about the chart and the image's build file."""

import json

import pytest
import yaml

from chart import CHART, ROOT, SCENARIOS, TESTS, run, text_of

KUBERNETES = [f"1.{minor}" for minor in range(30, 38)]

# Kinds that no Kubernetes has by itself.
CUSTOM_KINDS = {"Certificate", "PodMonitor", "PrometheusRule", "ServiceMonitor"}

# (check, kind): why it does not hold here. One that is no longer needed is an error too.
JUSTIFIED = {
    ("CKV_K8S_11", "Deployment"): "a CPU limit delays everybody's messages when it throttles; requests do the sharing",
    ("CKV_K8S_11", "Pod"): "as above",
    ("CKV_K8S_43", "Deployment"): "image.digest is for whoever has a registry; there is no published image to pin",
    ("CKV_K8S_43", "Pod"): "as above",
    ("CKV_K8S_15", "Deployment"): "tags are versions; the default image is loaded into machines and cannot be pulled",
    ("CKV_K8S_15", "Pod"): "as above",
    ("CKV_K8S_11", "Job"): "a limit for a moment's work would only make it longer",
    ("CKV_K8S_43", "Job"): "as for a Deployment",
    ("CKV_K8S_15", "Job"): "as for a Deployment",
    **{("CKV_K8S_40", kind): "OpenShift chooses the user" for kind in ("Deployment", "Pod", "Job")},
    ("CKV_K8S_8", "Pod"): "the check runs once and ends",
    ("CKV_K8S_9", "Pod"): "the check serves nobody",
    ("CKV2_K8S_6", "Pod"): "the check listens on nothing",
}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A folder with one file per scenario."""
    folder = tmp_path_factory.mktemp("rendered")
    for scenario in SCENARIOS:
        (folder / f"{scenario}.yaml").write_text(text_of(scenario))
    return folder


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_helm_lint(scenario):
    result = run("helm", "lint", "--strict", CHART, "--values", CHART / f"ci/{scenario}-values.yaml")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_manifest(rendered, version):
    result = run("kubernetes-validate", "--strict", "-k", version, *sorted(rendered.iterdir()))
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    unknown = {line.split("kind ")[1].split()[0] for line in said.splitlines() if "find schema" in line}
    assert unknown == CUSTOM_KINDS
    assert said.count(" passed ") > 5 * len(SCENARIOS)


def test_checkov(rendered):
    result = run("checkov", "--directory", rendered, "--framework", "kubernetes", "--compact", "--quiet", "-o", "json")
    report = json.loads(result.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100 * len(SCENARIOS)
    failed = {(it["check_id"], it["resource"].split(".")[0]): it["resource"] for it in report["results"]["failed_checks"]}
    assert failed.keys() - JUSTIFIED.keys() == set(), failed
    assert JUSTIFIED.keys() - failed.keys() == set(), "justified for nothing"


def test_yamllint(rendered):
    written = [*CHART.glob("*.yaml"), *CHART.glob("ci/*.yaml"), *CHART.glob("rules/*.yaml"), TESTS / "alerts.test.yaml"]
    # Sentences and queries are long. A `{` is at home in a query.
    check_yaml(written, "{line-length: disable, document-start: disable}")
    # As helm's toYaml writes it.
    check_yaml(rendered.iterdir(), "{line-length: disable, indentation: {indent-sequences: whatever}}")


def check_yaml(paths, rules):
    result = run("yamllint", "--strict", "-d", f"{{extends: default, rules: {rules}}}", *sorted(paths))
    assert result.returncode == 0, result.stdout


def test_the_schema_is_one():
    result = run("check-jsonschema", "--check-metaschema", CHART / "values.schema.json")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_schema_means_the_same_to_others(scenario, tmp_path):
    values = tmp_path / "values.yaml"
    given = yaml.safe_load((CHART / f"ci/{scenario}-values.yaml").read_text()) or {}
    values.write_text(yaml.safe_dump(merged(yaml.safe_load((CHART / "values.yaml").read_text()), given)))
    result = run("check-jsonschema", "--schemafile", CHART / "values.schema.json", values)
    assert result.returncode == 0, result.stdout


def merged(defaults, given):
    """What helm checks: values over their defaults."""
    inner = {key: merged(defaults[key], value) for key, value in given.items() if isinstance(defaults.get(key), dict)}
    return defaults | given | inner


def test_hadolint():
    result = run("hadolint", "--failure-threshold", "info", ROOT / "Dockerfile")
    assert result.returncode == 0, result.stdout
