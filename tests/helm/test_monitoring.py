"""Metrics, alerts and the dashboard: every name in them is one that the binaries emit."""

import json
import re
import socket
import struct
import time

import grpc
import pytest
import yaml

import pods
import sources
from chart import CHART, ROOT, TESTS, container, find, objects_of, render, run

RULES = CHART / "rules/alerts.yaml"
DASHBOARD = CHART / "dashboards/teamtalk-route.json"
RUNBOOK = ROOT / "docs/runbook.md"
METRICS_PAGE = ROOT / "docs/metrics.md"

# Prometheus' own.
NOT_OURS = {"up", "ALERTS"}
# Everything else in a query that looks like a name.
WORDS = set(
    "and or unless on by without ignoring group_left bool vector rate increase resets sum avg min max count "
    "histogram_quantile max_over_time min_over_time avg_over_time last_over_time group time label_values".split()
)
METRIC = re.compile(r"\b(?:teamtalk|process|rpc)_[a-z0-9_]+")

ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
EXPRESSIONS = [rule["expr"] for rule in ALERTS]
# The jobs that alerts ask for.
JOBS = {job for query in EXPRESSIONS for found in re.findall(r'job=~"([^"]+)"', query) for job in found.split("|")}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries():
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [it["query"]["query"] for it in dashboard()["templating"]["list"] if it["type"] == "query"]
    return found + [it["expr"] for it in dashboard()["annotations"]["list"]]


def metrics_in(query):
    """Names of metrics: what stands neither in braces, nor in quotes, nor after `by`."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without)\s*\([^)]*\)|\"[^\"]*\"", " ", query)
    bare = re.sub(r"label_values\((.*), \w+\)", r"\1", bare)
    return {word for word in re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*", bare)} - WORDS


def labels_in(query):
    """Names of labels that a query selects or groups by."""
    selected = {name for braces in re.findall(r"\{([^}]*)\}", query) for name in re.findall(r"(\w+)\s*(?:=|!)", braces)}
    grouped = {name for names in re.findall(r"\bby\s*\(([^)]*)\)", query) for name in re.findall(r"\w+", names)}
    return selected | grouped


# Names


def test_the_sources_declare_each_metric_once_with_a_description():
    declared = sources.instruments()
    families = [it.family for it in declared]
    assert len(declared) > 40
    assert len(families) == len(set(families))
    for it in declared:
        assert it.kind in ("counter", "gauge", "histogram")
        assert it.description and not it.description.endswith("."), it.name
        assert re.fullmatch(r"s|By|1|\{[a-z_]+\}", it.unit), it.name


@pytest.mark.parametrize("query", EXPRESSIONS + queries())
def test_queries_name_metrics_that_exist(query):
    emitted = {series for it in sources.instruments() for series in it.series}
    assert metrics_in(query)
    assert metrics_in(query) - NOT_OURS <= emitted


@pytest.mark.parametrize("query", EXPRESSIONS + queries())
def test_queries_name_labels_that_exist(query):
    documented = set(re.findall(r"^\| `(\w+)` \| ", METRICS_PAGE.read_text().split("generated")[0], re.MULTILINE))
    assert labels_in(query) <= documented | {"job", "instance", "namespace", "le", "alertname", "alertstate", "severity"}


def test_documented_label_values_are_those_of_the_gateway():
    page = METRICS_PAGE.read_text()
    files = ("pdu-gateway/src/metrics/counters.rs", "pdu-gateway/src/pdu/input.rs", "proto/dialect/src/command.rs")
    code = "".join(sources.production(ROOT / it) for it in files)
    made_here = {"users_status_answer", "desktop_login_notice", "status_notice"}
    for constant, unused in {"STANDARD": made_here, "REFUSALS": set(), "CLOSE_REASONS": {"unspecified"}, "KINDS": set()}.items():
        [values] = re.findall(rf"const {constant}: [^=]*= \[(.*?)\];", code, re.DOTALL)
        for value in set(re.findall(r'"(\w+)"', values)) - unused:
            assert f"`{value}`" in page, f"{constant}: {value}"


def test_what_happens_to_links_is_explained():
    source = (ROOT / "route-core/src/transition.rs").read_text()
    kinds = set(re.findall(r'TransitionKind::\w+ => "(\w+)"', source))
    assert len(kinds) == int(re.search(r"ALL: \[TransitionKind; (\d+)\]", source).group(1))

    [rows] = re.findall(r"^\| \*link …\* \|.*\n\|-.*\n((?:\|.*\n)+)", RUNBOOK.read_text(), re.MULTILINE)
    assert set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)) == kinds
    [values] = re.findall(r"^\| `kind` \| `teamtalk_route_links_transitions_total` \| (.*) \|", METRICS_PAGE.read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", values)) == kinds


@pytest.mark.parametrize("page", [*ROOT.glob("docs/*.md"), CHART / "README.md"], ids=lambda path: path.name)
def test_pages_name_metrics_that_exist(page):
    instruments = sources.instruments()
    emitted = {series for it in instruments for series in [it.family, *it.series]}
    labels = {"rpc_method", "rpc_response_status_code"}
    assert set(METRIC.findall(page.read_text())) <= emitted | labels


def test_every_metric_of_ours_is_on_the_dashboard():
    shown = {name for query in queries() for name in metrics_in(query)}
    hidden = {it.family for it in sources.instruments() if not shown & set(it.series)}
    assert hidden == set()


def happen(embedded):
    """One of each thing that is counted when it happens: a query of a MsgServer, a call, a stream, a stream refused."""
    with socket.create_connection((pods.HOST, embedded.ports[8200])) as msg_server:
        body = bytes([0x08, 7, 0x10, 8])
        msg_server.sendall(struct.pack(">I6H", 16 + len(body), 1, 0, 2, 0x020A, 1, 0) + body)
        # The answer may come after a heartbeat.
        while struct.unpack(">I6H", msg_server.recv(16, socket.MSG_WAITALL))[4] != 0x020B:
            pass
    with grpc.insecure_channel(f"{pods.HOST}:{embedded.ports[50051]}") as channel:
        # Messages as their bytes: a kick, to everybody; nothing; an uplink where a hello has to be.
        kick = bytes([0x12, 8, 0x6A, 6, 0x08, 7, 0x10, 1, 0x18, 1, 0x22, 0])
        channel.unary_unary("/teamtalk.route.v1.BroadcastService/Publish")(kick, timeout=pods.PATIENCE)
        events = channel.unary_stream("/teamtalk.route.v1.BroadcastService/Subscribe")(b"", timeout=pods.PATIENCE)
        next(events)
        events.cancel()
        attach = channel.stream_stream("/teamtalk.attach.v1.AttachService/Attach")
        with pytest.raises(grpc.RpcError):
            next(attach(iter([b"\x12\x00"]), timeout=pods.PATIENCE))
    deadline = time.monotonic() + pods.PATIENCE
    while "teamtalk_route_stream_duration_seconds" not in embedded.page("/metrics"):
        assert time.monotonic() < deadline, "the node does not notice that a subscriber has gone"


@pods.needs_binaries
def test_the_binary_emits_what_is_declared(tmp_path):
    with pods.started(objects_of("embedded"), tmp_path) as [embedded]:
        pods.wait_until(embedded, "readiness")
        happen(embedded)
        scrape = embedded.page("/metrics")
    # What is about certificates and keys, only a node that has some tells.
    (tmp_path / "tls").mkdir()
    secured = render("mode=embedded", "security.tls.enabled=true", "security.tls.issuerRef.name=im")
    with pods.started(secured, tmp_path / "tls") as [embedded]:
        pods.wait_until(embedded, "readiness")
        of_others = re.findall(r"^# (?:TYPE|HELP) (\w+) .*$", embedded.page("/metrics"), re.MULTILINE)
    # What is about leading, one of several; that it cannot reach NATS does not matter.
    (tmp_path / "engine").mkdir()
    nodes = [it for it in render() if it["kind"] == "Deployment" and it["metadata"]["name"].endswith("-route-grpc")]
    given = {"ENGINE": "nats", "NATS_URL": "nats://127.0.0.1:9", "ADVERTISE_API": "http://127.0.0.1:50051"}
    container(nodes[0])["env"] = [{"name": f"TT_ROUTE_{name}", "value": value} for name, value in given.items()]
    with pods.started(nodes, tmp_path / "engine") as [node]:
        pods.wait_until(node, "liveness")
        of_others += re.findall(r"^# (?:TYPE|HELP) (\w+) .*$", node.page("/metrics"), re.MULTILINE)
    emitted = dict(re.findall(r"^# TYPE (\w+) (\w+)$", scrape, re.MULTILINE))
    helped = dict(re.findall(r"^# HELP (\w+) (.*)$", scrape, re.MULTILINE))
    declared = {it.family: it for it in sources.instruments()}

    assert set(emitted) - {"target_info"} <= set(declared)
    for family, kind in emitted.items():
        if family != "target_info":
            assert (kind, helped[family]) == (declared[family].kind, declared[family].description)
    # Counters of trouble too: alerts go by increases, and there is none in a series that begins with its first event.
    assert set(emitted) | set(of_others) >= set(declared)
    checked = run("promtool", "check", "metrics", input=scrape)
    # OpenTelemetry's conventions have this name, Prometheus' do not like its end.
    complaints = [it for it in checked.stderr.splitlines() if "process_unix_file_descriptor_count" not in it]
    assert complaints == []


# Alerts


def test_promtool_takes_the_rules():
    result = run("promtool", "check", "rules", RULES)
    assert result.returncode == 0, result.stdout + result.stderr


def test_alerts_fire_when_they_should_and_only_then():
    result = run("promtool", "test", "rules", TESTS / "alerts.test.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_test_a_section_in_the_runbook_and_a_text():
    names = [rule["alert"] for rule in ALERTS]
    tests = (TESTS / "alerts.test.yaml").read_text()
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert len(names) == len(set(names))
    assert set(names) == set(re.findall(r'alertname="(\w+)", alertstate="firing"', tests))
    assert sections == names
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_chart_s_rules_are_the_file_s_with_links():
    rules = find(objects_of("monitoring"), "PrometheusRule", "tt")
    plain = yaml.safe_load(RULES.read_text())
    linked = rules["spec"]["groups"]

    assert rules["metadata"]["labels"]["release"] == "prometheus"
    for group, plain_group in zip(linked, plain["groups"], strict=True):
        for rule, plain_rule in zip(group["rules"], plain_group["rules"], strict=True):
            link = rule["annotations"].pop("runbook_url")
            assert link == f"https://wiki.example/teamtalk-route/runbook#{rule['alert'].lower()}"
            assert rule == plain_rule
    unlinked = find(render("monitoring.prometheusRule.enabled=true"), "PrometheusRule", "tt")
    assert unlinked["spec"] == plain


def test_the_pod_monitor_finds_all_and_names_jobs_as_the_rules_do():
    objects = objects_of("monitoring")
    monitor = find(objects, "PodMonitor", "tt")["spec"]
    deployments = [it for it in objects + objects_of("embedded") if it["kind"] == "Deployment"]
    templates = [it["spec"]["template"] for it in deployments]

    [endpoint] = monitor["podMetricsEndpoints"]
    jobs = set()
    for pod in templates:
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        [only] = pod["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in only["ports"]}
        jobs.add(pod["metadata"]["labels"][monitor["jobLabel"]])
    assert JOBS == jobs


def test_the_service_monitor_finds_a_service_of_each_and_nothing_else():
    enabled = "monitoring.serviceMonitor.enabled=true"
    jobs = set()
    for objects in (render(enabled), render(enabled, "mode=embedded")):
        monitor = find(objects, "ServiceMonitor", "tt")["spec"]
        [endpoint] = monitor["endpoints"]
        wanted = monitor["selector"]["matchLabels"].items()
        found = [it for it in objects if it["kind"] == "Service" and wanted <= it["metadata"]["labels"].items()]
        pods = [it["spec"]["template"]["metadata"]["labels"] for it in objects if it["kind"] == "Deployment"]
        selected = [labels for it in found for labels in pods if it["spec"]["selector"].items() <= labels.items()]
        assert sorted(map(str, selected)) == sorted(map(str, pods))
        for service in found:
            assert [it["name"] for it in service["spec"]["ports"]] == [endpoint["port"]]
            jobs.add(service["metadata"]["labels"][monitor["jobLabel"]])
    assert JOBS == jobs


# The dashboard


def test_the_dashboard_s_panels_stand_side_by_side():
    taken = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_promtool_takes_the_dashboard_s_queries(tmp_path):
    # As rules, for promtool reads queries only in rules. Grafana puts in times and names before it asks.
    records = [
        {"record": f"panel:{index}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for index, query in enumerate(target["expr"] for panel in panels() for target in panel["targets"])
    ]
    rules = tmp_path / "queries.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    result = run("promtool", "check", "rules", rules)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_config_map_carries_the_dashboard_unchanged():
    config = find(objects_of("monitoring"), "ConfigMap", "-dashboard")
    assert json.loads(config["data"]["teamtalk-route.json"]) == dashboard()
    assert config["metadata"]["labels"]["grafana_dashboard"] == "true"
