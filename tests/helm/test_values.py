"""Values: what is described, what is accepted, what is refused, and how readably."""

import json
import re

import pytest
import yaml

import generate
import sources
from chart import CHART, ROOT, SCENARIOS, flags, refusal, render, workloads

# Flags that the chart sets itself.
OWN_NODE_FLAGS = {
    *("listen", "probe-listen", "attach-listen", "health-listen", "insecure", "policy"),
    *("tls-cert", "tls-key", "tls-client-ca", "token-keys", "token-audience", "token-issuer"),
}
OWN_GATEWAY_FLAGS = {"listen", "probe-listen", "grpc-listen", "embedded", "upstream", "msg-server", "dialect"}
# A fixed id for several pods would be refused by the node.
UNSUITABLE = {"gateway-id"}
# The admin port stays where it is by default: a socket that only commands in the pod can reach.
UNSUITABLE_FOR_NODES = {"admin-grpc-listen"}

POD_VALUES = ["resources", "nodeSelector", "tolerations", "affinity", "priorityClassName"]

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_every_value_is_described_and_every_description_has_its_value():
    described = [key for _, entries in generate.parameters() for key, _ in entries]
    assert len(described) == len(set(described))
    for key in described:
        generate.default(key)
    for leaf in leaves(VALUES):
        assert any(leaf == key or leaf.startswith(f"{key}.") for key in described), f"{leaf} is not described"


def test_the_schema_has_exactly_the_values():
    def compare(values, schema, path):
        # Under global, other charts have values of theirs.
        assert schema.get("additionalProperties") is (None if path == "values.global" else False), path
        assert set(schema["properties"]) == set(values), path
        for key, value in values.items():
            if isinstance(value, dict) and "properties" in schema["properties"][key]:
                if key != "flags":
                    compare(value, schema["properties"][key], f"{path}.{key}")

    compare(VALUES, SCHEMA, "values")


def test_the_schema_requires_what_templates_read():
    """Setting a value to null takes it away, and a template that reads it would fail with a text for programmers."""

    def compare(values, schema, path):
        sections = {key for key in values if "properties" in schema["properties"][key]}
        texts = {key for key, value in values.items() if value is not None and not isinstance(value, (dict, list)) and value != ""}
        assert set(schema["required"]) == sections | texts, path
        for key in sections - {"flags"}:
            compare(values[key], schema["properties"][key], f"{path}.{key}")

    compare(VALUES, SCHEMA, "values")


def test_the_schema_knows_exactly_the_flags_that_the_binaries_have():
    def schema_flags(component):
        return set(SCHEMA["properties"][component]["properties"]["flags"]["properties"])

    node = sources.flags(sources.NODE_SETTINGS, sources.SECURITY_SETTINGS, sources.SERVE_SETTINGS, sources.LOG_SETTINGS)
    gateway = sources.flags(sources.GATEWAY_SETTINGS, sources.LOG_SETTINGS)
    assert schema_flags("node") == node - OWN_NODE_FLAGS - UNSUITABLE_FOR_NODES
    assert schema_flags("gateway") == gateway - OWN_GATEWAY_FLAGS - UNSUITABLE
    assert OWN_NODE_FLAGS | UNSUITABLE_FOR_NODES <= node
    assert OWN_GATEWAY_FLAGS | UNSUITABLE <= gateway


def test_the_schema_knows_exactly_the_dialects_that_are_built_in():
    built_in = [path.stem for path in (ROOT / "proto/dialect/dialects").glob("*.toml")]
    names = SCHEMA["properties"]["gateway"]["properties"]["dialect"]["properties"]["name"]["enum"]
    assert sorted(names) == sorted(["", *built_in])


def test_the_schema_takes_a_time_of_zero_where_the_binaries_do():
    code = sources.settings()
    parsers = re.findall(r'env = "TT_(?:ROUTE|GATEWAY)_(\w+)"[^)]*?value_parser = (duration\w*)', code)
    flags = {name.lower().replace("_", "-"): parser for name, parser in parsers}
    kinds = {"time": "duration", "timeOrZero": "duration_or_zero"}
    schema = {
        name: kinds[kind.get("$ref").removeprefix("#/definitions/")]
        for component in ("node", "gateway")
        for name, kind in SCHEMA["properties"][component]["properties"]["flags"]["properties"].items()
        if kind.get("$ref", "").removeprefix("#/definitions/") in kinds
    }
    assert schema == flags


def test_flags_of_the_process_are_those_that_the_embedded_node_does_not_have():
    serve = sources.production(sources.SERVE_SETTINGS)
    own = {"listen", "probe-listen", "worker-threads", "shutdown-deadline"}
    assert {name for name in own if f"    {name.replace('-', '_')}:" in serve} == own
    given = {"worker-threads": 2, "shutdown-deadline": "20s", "log-filter": "debug", "log-format": "text"}
    [pod] = workloads(render("mode=embedded", *(f"node.flags.{name}={value}" for name, value in given.items())))
    assert set(flags(pod)) == {"embedded", "grpc-listen", "listen", "probe-listen", "insecure"}


def test_the_scenarios_use_every_value():
    used = set()
    for scenario in SCENARIOS:
        used |= set(leaves(yaml.safe_load((CHART / f"ci/{scenario}-values.yaml").read_text()) or {}))
    described = {key for _, entries in generate.parameters() for key, _ in entries}
    unused = {key for key in described if not any(f"{leaf}.".startswith(f"{key}.") for leaf in used)}
    # What both components have is rendered by the same lines for both.
    unused -= {f"node.{it}" for it in POD_VALUES if any(leaf.startswith(f"gateway.{it}") for leaf in used)}
    unused -= {f"gateway.{it}" for it in POD_VALUES if any(leaf.startswith(f"node.{it}") for leaf in used)}
    assert unused == {"image.tag", "gateway.pdb.enabled"}


NATS = ("engine.type=nats", "engine.nats.urls={nats://n:4222}")
TLS = ("security.tls.enabled=true", "security.tls.issuerRef.name=im")


def own_port(name, port, at=0):
    """Settings for a MsgServer with a port of its own."""
    return f"gateway.msgServers[{at}].name={name}", f"gateway.msgServers[{at}].port={port}"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["node.replicas=2"], "node.replicas: Must be less than or equal to 1"),
        (["node.replicas=2", "engine.type=none"], "node.replicas: Must be less than or equal to 1"),
        (["engine.type=etcd"], 'engine.type must be one of the following: "none", "nats"'),
        (["engine.type=nats"], "say in engine.nats.urls where its servers are"),
        ([*NATS, "mode=embedded"], "engine.type is nats, but mode is embedded"),
        ([*NATS, "engine.nats.urls={http://n}"], "engine.nats.urls.0: Does not match pattern"),
        ([*NATS, "engine.nats.urls={nats://u:p@n}"], "engine.nats.urls.0: Does not match pattern"),
        ([*NATS, "engine.nats.urls={tls://n}"], "tls://n needs engine.nats.tls.secret"),
        ([*NATS, "engine.site=a.b"], "engine.site: Does not match pattern"),
        ([*NATS, "engine.podAddress=10.0.0.1"], "engine.podAddress must be one of the following"),
        ([*NATS, "engine.nats.login.kind=creds"], 'engine.nats.login.kind is creds, and engine.nats.login.secret is ""'),
        ([*NATS, "engine.nats.login.secret=s"], 'engine.nats.login.kind is none, and engine.nats.login.secret is "s"'),
        ([*NATS, "engine.nats.login.kind=password", "engine.nats.login.secret=s"], "a password needs a user"),
        ([*NATS, "engine.nats.login.user=u"], "a password needs a user"),
        ([*NATS, "engine.nats.tls.clientCertificate=true"], "say in engine.nats.tls.secret where it is"),
        (["node.flags.site=a"], "Additional property site is not allowed"),
        (["node.replicas=0"], "node.replicas: Must be greater than or equal to 1"),
        (["mode=both"], 'mode must be one of the following: "separate", "embedded", "gateways"'),
        (["gatway.replicas=2"], "Additional property gatway is not allowed"),
        (["gateway.flags.alow-cidr=10.0.0.0/8"], "Additional property alow-cidr is not allowed"),
        (["gateway.flags.listen=0.0.0.0:1"], "Additional property listen is not allowed"),
        (["gateway.flags.dialect=proto3"], "Additional property dialect is not allowed"),
        (["gateway.dialect.name=proto4"], 'gateway.dialect.name must be one of the following: "", "teamtalk", "proto3", "0x08xx"'),
        (["gateway.dialect.definition=1"], "gateway.dialect.definition: Invalid type. Expected: string"),
        (["gateway.dialect.file=a.toml"], "Additional property file is not allowed"),
        (["gateway.dialect=null"], "gateway: dialect is required"),
        (
            ["gateway.dialect.name=proto3", "gateway.dialect.definition=name"],
            "gateway.dialect.name is proto3, and gateway.dialect.definition is set, too",
        ),
        (["gateway.flags.gateway-id=a"], "Additional property gateway-id is not allowed"),
        (["node.flags.detach-grace=10"], "node.flags.detach-grace: Invalid type. Expected: string"),
        (["node.flags.detach-grace=10 seconds"], "node.flags.detach-grace: Does not match pattern"),
        (["node.flags.fan-out=all"], 'node.flags.fan-out must be one of the following: "directed", "broadcast"'),
        (["gateway.flags.allow-cidr=everyone"], "gateway.flags.allow-cidr: Does not match pattern"),
        (["gateway.upstreams={tcp://node:1}", "mode=gateways"], "gateway.upstreams.0: Does not match pattern"),
        (["gateway.upstreams={https://node:1}", "mode=gateways"], "https://node:1 does not go with security.tls.enabled=false"),
        (["gateway.upstreams={http://node:1}", "mode=gateways", "gateway.nodeApi=https://node:1"], "https://node:1 does not go with"),
        (["gateway.nodeApi=http://node:1"], "gateway.nodeApi is set, but mode is separate"),
        ([*TLS, "mode=gateways", "gateway.upstreams={http://node:1}"], "http://node:1 does not go with security.tls.enabled=true"),
        (["security.tls.enabled=true"], "the node has no certificate: say security.tls.node.existingSecret or"),
        (["security.tls.enabled=true", "security.tls.node.existingSecret=a"], "gateways, or helm test, have nothing to show"),
        (["mode=embedded", "security.tls.enabled=true", "security.tls.node.existingSecret=a"], "gateways, or helm test, have nothing"),
        (["security.tls.enabled=yes"], "security.tls.enabled: Invalid type. Expected: boolean"),
        ([*TLS, "security.tls.duration=90 days"], "security.tls.duration: Does not match pattern"),
        ([*TLS, "security.tls.gateway.uri=im"], "security.tls.gateway.uri: Does not match pattern"),
        ([*TLS, "security.tls.bundle.kind=File"], "security.tls.bundle.kind must be one of the following"),
        (["security.policy=a", "security.tokens.keys.name=b"], "there is a policy, and security.tls.enabled is false"),
        (["mode=embedded", "security.policy=a", "security.tokens.keys.name=b"], "security.tokens needs security.tls.enabled"),
        ([*TLS, "security.tokens.gateways=true"], "no node could read what they show: say in security.tokens.keys"),
        (
            [*TLS, "security.tokens.gateways=true", "mode=gateways", "gateway.upstreams={https://node:1}"],
            "say in security.tls.bundle whom gateways trust",
        ),
        ([*TLS, "security.tokens.expirationSeconds=60"], "expirationSeconds: Must be greater than or equal to 600"),
        (["security.insecure=true", "security.tokens.keys.name=a"], "security.insecure lets everybody in, and there is a policy, or tokens"),
        (["gateway.service.port=0"], "gateway.service.port: Must be greater than or equal to 1"),
        (["image.digest=latest"], "image.digest: Does not match pattern"),
        (["monitoring.traces.endpoint=https://collector:4317"], "monitoring.traces.endpoint: Does not match pattern"),
        (["monitoring.traces.ratio=2"], "monitoring.traces.ratio: Must be less than or equal to 1"),
        (["global.imageRegistry=a b"], "global.imageRegistry: Does not match pattern"),
        (["node.podSpec.volumes[0].name=a"], "node.podSpec has volumes: say that by node.extraVolumes"),
        (["gateway.podSpec.securityContext.fsGroup=1"], "gateway.podSpec has securityContext: say that by pods.securityContext"),
        (["gateway.podSpec.enableServiceLinks=true"], "gateway.podSpec has enableServiceLinks, which the chart sets itself"),
        (["node.extraContainers[0].image=a"], "node.extraContainers.0: name is required"),
        (["monitoring.podMonitor.enabled=true", "monitoring.serviceMonitor.enabled=true"], "everything would be scraped twice"),
        (["pods.bindAddress=localhost"], "pods.bindAddress must be one of the following"),
        (["gateway.flags.shutdown-deadline=0s"], "gateway.flags.shutdown-deadline: Does not match pattern"),
        (["node.flags.log-bytes=0MiB"], "node.flags.log-bytes: Does not match pattern"),
        (["gateway.flags.allow-cidr=10.0.0.0/33"], "gateway.flags.allow-cidr: Does not match pattern"),
        (["gateway.flags.allow-cidr=fd00::/129"], "gateway.flags.allow-cidr: Does not match pattern"),
        (["node.flags=null"], "node: flags is required"),
        (["gateway.flags=null"], "gateway: flags is required"),
        (["monitoring.traces=null"], "monitoring: traces is required"),
        (["node=null"], "(root): node is required"),
        (["mode=null"], "(root): mode is required"),
        (["gateway.service.type=NodePort", "gateway.service.nodePort=80"], "nodePort: Must be greater than or equal to 30000"),
        (["gateway.service.type=NodePort", "gateway.service.nodePort=32768"], "nodePort: Must be less than or equal to 32767"),
        (["gateway.service.type=NodePort", "gateway.service.nodePort=abc"], "nodePort: Invalid type. Expected: [integer,null]"),
        (["fullnameOverride=Im_Route"], "fullnameOverride: Does not match pattern"),
        ([r"commonLabels.app\.kubernetes\.io/name=x"], "commonLabels has app.kubernetes.io/name, which the chart sets"),
        ([r"node.podLabels.app\.kubernetes\.io/component=x"], "node.podLabels has app.kubernetes.io/component"),
        (["mode=embedded", "gateway.replicas=2"], "gateway.replicas is 2, but mode is embedded"),
        (["mode=embedded", "gateway.autoscaling.enabled=true"], "autoscaling.enabled is true, but mode is embedded"),
        (["security.insecure=false"], "nothing says who may do what at gRPC. Give a policy"),
        (["security.policy=a", "security.insecure=true"], "security.insecure lets everybody in, and there is a policy, or tokens, too"),
        (["security.existingPolicy.name=a", "security.insecure=true"], "security.insecure lets everybody in, and there is a policy, or tokens"),
        ([*TLS, "security.policy=allow = []"], "security.policy has allow = [], and the chart adds an entry for the gateways"),
        (["security.policy=a"], "gateways could not show who they are, and none would be let in"),
        (["security.policy=a", "security.existingPolicy.name=b"], "There is one policy: say one of them"),
        (["security.policy=a", "mode=gateways"], "the node elsewhere has its own"),
        (["node.flags.policy-mode=audit"], "security.insecure lets everybody in: there is no policy to try"),
        (["node.flags.policy-mode=try"], "node.flags.policy-mode must be one of the following"),
        (["security.insecure=yes"], "security.insecure: Invalid type. Expected: boolean"),
        (["security.existingPolicy.kind=File"], "security.existingPolicy.kind must be one of the following"),
        (["security.existingPolicy.key="], "security.existingPolicy.key: Does not match pattern"),
        (["node.flags.policy=a.toml"], "Additional property policy is not allowed"),
        (["security=null"], "(root): security is required"),
        (["gateway.upstreams={http://node:1}"], "gateway.upstreams is set, but mode is separate"),
        (["mode=gateways"], "say in gateway.upstreams where it is"),
        (["pods.terminationGracePeriodSeconds=44"], "is 44, but must be at least 45: pods.preStopSeconds (5)"),
        (["pods.preStopSeconds=6"], "is 45, but must be at least 46"),
        (["node.flags.shutdown-deadline=1m"], "must be at least 80"),
        (["gateway.flags.shutdown-deadline=25001ms"], "must be at least 46"),
        (
            ["gateway.autoscaling.enabled=true", "gateway.autoscaling.minReplicas=9"],
            "minReplicas (9) is more than gateway.autoscaling.maxReplicas (5)",
        ),
        (["gateway.service.loadBalancerSourceRanges={10.0.0.0/8}"], "needs gateway.service.type: LoadBalancer"),
        (["gateway.service.nodePort=30820"], "needs gateway.service.type: NodePort or LoadBalancer"),
        (["gateway.msgServers[0].port=8201"], "gateway.msgServers.0: name is required"),
        (["gateway.msgServers[0].name=a"], "gateway.msgServers.0: Must validate at least one schema"),
        ([*own_port("a b", 8201)], "gateway.msgServers.0.name: Does not match pattern"),
        (["gateway.msgServers[0].name=a", "gateway.msgServers[0].hosts={msg-1}"], "gateway.msgServers.0.hosts.0: Does not match pattern"),
        ([*own_port("a", 8200)], "has port 8200, which is for MsgServers without a port of their own"),
        ([*own_port("a", 9464)], "has port 9464, which is for probes"),
        ([*own_port("a", 8300), "gateway.service.port=8300"], "has port 8300, which is for gateway.service.port"),
        ([*own_port("a", 8201), *own_port("b", 8201, 1)], "has port 8201, which is for a"),
        ([*own_port("a", 8201), "gateway.msgServers[0].nodePort=30821"], "the nodePort of a needs a port, and gateway.service.type"),
        (
            [f"gateway.msgServers[{at}].{it}" for at, name in enumerate("ab") for it in (f"name={name}", "hosts={10.0.0.7}")],
            "host 10.0.0.7 is a and b",
        ),
    ],
)
def test_wrong_values_are_refused_with_a_reason(settings, reason):
    assert reason in refusal(*settings)


@pytest.mark.parametrize(
    "settings",
    [
        ["global.anything=1"],
        [*TLS],
        [*TLS, "mode=embedded"],
        [*TLS, "security.insecure=true"],
        [*TLS, "security.existingPolicy.name=a", "security.existingPolicy.kind=Secret", "node.flags.policy-mode=audit"],
        ["mode=embedded", "security.policy=allow = []"],
        [*TLS, "mode=gateways", "gateway.upstreams={https://node:1}"],
        ["mode=embedded", "gateway.replicas=0"],
        ["gateway.dialect.name=null"],
        ["node.flags.seat-bytes=1GiB"],
        ["node.flags.seat-hold=0s"],
        ["node.flags.seat-bytes=1048576"],
        ["gateway.flags.allow-cidr={0.0.0.0/0,::/0}"],
        ["gateway.flags.allow-cidr=10.0.0.0/8"],
        ["gateway.service.type=NodePort", "gateway.service.nodePort=30820"],
        [*own_port("a", 8201), *own_port("a", 8202, 1), "gateway.msgServers[1].hosts={10.0.0.7}"],
        ["gateway.service.nodePort=null", "node.resources.limits=null", "commonLabels=null"],
        ["node.flags.shutdown-deadline=20s", "gateway.flags.shutdown-deadline=20s", "pods.terminationGracePeriodSeconds=45"],
    ],
)
def test_right_values_are_accepted(settings):
    render(*settings)


def test_generated_tables_are_up_to_date():
    for path, table in generate.tables().items():
        text = path.read_text()
        assert generate.with_table(text, table) == text, f"{path}: run tests/helm/generate.py"


def test_the_chart_has_the_version_of_the_binaries():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    workspace = (ROOT / "Cargo.toml").read_text().split("[workspace.package]")[1]
    assert f'version = "{chart["appVersion"]}"' in workspace


def leaves(value, path=""):
    """Dotted keys of everything that is no object, or an empty one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif path:
        yield path
