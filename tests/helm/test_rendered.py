"""What helm makes of the chart: each rule once, over every scenario that it concerns."""

import ipaddress

import pytest
import yaml

import sources
from chart import (
    CHART,
    NAMESPACE,
    SCENARIOS,
    container,
    find,
    flags,
    objects_of,
    render,
    template,
    workloads,
)
from provided import spec_of

COMPONENTS = {"route-grpc", "pdu-gateway", "embedded"}
SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
USER = 65532

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)
EMBEDDED = ("embedded", "policy", "existing-policy")
WITH_TLS = ("tls", "cert-manager", "tokens", "nodes-tls")
# How many nodes, where there are several.
NODES = {"nodes": 3, "nodes-tls": 2}
SEPARATE = [it for it in SCENARIOS if it not in (*EMBEDDED, "gateways")]


# Names and labels


@every_scenario
def test_objects_are_labelled_and_in_the_release_s_namespace(scenario):
    for it in objects_of(scenario):
        if it["metadata"]["name"] in ("tt-extra", "tt-more"):
            continue  # extraObjects: as they were given
        labels = it["metadata"]["labels"]
        assert SELECTOR - {"app.kubernetes.io/component"} <= set(labels), it["metadata"]["name"]
        assert {"app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"} <= set(labels)
        assert it["metadata"]["namespace"] == NAMESPACE


@every_scenario
def test_no_two_objects_share_a_name(scenario):
    names = [(it["kind"], it["metadata"]["name"]) for it in objects_of(scenario)]
    assert len(names) == len(set(names))


@every_scenario
def test_selectors_find_exactly_the_pods_that_they_are_for(scenario):
    objects = objects_of(scenario)
    for workload in workloads(objects):
        selector = workload["spec"]["selector"]["matchLabels"]
        assert set(selector) == SELECTOR
        assert selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        assert selector["app.kubernetes.io/component"] in COMPONENTS
    for it in objects:
        for selector in selectors_of(it):
            matching = [
                workload["metadata"]["name"]
                for workload in workloads(objects)
                if selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            ]
            assert len(matching) == 1, f"{it['kind']} {it['metadata']['name']} finds {matching}"


@pytest.mark.parametrize("service", ["-pdu-gateway", "-route-grpc"])
def test_a_service_of_one_mode_finds_no_pod_of_the_other(service):
    embedded, separate = render("mode=embedded"), render("mode=separate")
    for services, others in ((embedded, separate), (separate, embedded)):
        selector = find(services, "Service", service)["spec"]["selector"]
        for workload in workloads(others):
            assert not selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    names = [{it["metadata"]["name"] for it in workloads(objects)} for objects in (embedded, separate)]
    assert not names[0] & names[1], "a controller would scale one as the other"


def selectors_of(it):
    spec = it.get("spec", {})
    if it["kind"] == "Service":
        yield spec["selector"]
    if it["kind"] == "PodDisruptionBudget":
        yield spec["selector"]["matchLabels"]
    if it["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]


def test_a_new_chart_version_alone_replaces_no_pod():
    for workload in workloads(objects_of("default")):
        assert "helm.sh/chart" not in workload["spec"]["template"]["metadata"]["labels"]


# Ports and listeners


@every_scenario
def test_container_ports_are_what_the_flags_bind(scenario):
    for workload in workloads(objects_of(scenario)):
        bound = {
            int(address.rsplit(":", 1)[1].split("=")[0])
            for flag, addresses in flags(workload).items()
            if flag.endswith("listen")
            for address in addresses
        }
        assert {port["containerPort"] for port in container(workload)["ports"]} == bound


@every_scenario
def test_services_lead_to_ports_of_their_pods(scenario):
    objects = objects_of(scenario)
    for service in (it for it in objects if it["kind"] == "Service"):
        [workload] = [
            workload
            for workload in workloads(objects)
            if service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        names = {port["name"] for port in container(workload)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


@pytest.mark.parametrize("scenario", SEPARATE)
def test_gateways_attach_through_the_headless_service(scenario):
    objects = objects_of(scenario)
    headless = find(objects, "Service", "-route-grpc-headless")
    [upstream] = flags(find(objects, "Deployment", "-pdu-gateway"))["upstream"]

    assert headless["spec"]["clusterIP"] == "None"
    # A node is ready only after gateways have attached.
    assert headless["spec"]["publishNotReadyAddresses"] is True
    [port] = headless["spec"]["ports"]
    assert upstream == f"{scheme(scenario)}://{headless['metadata']['name']}:{port['port']}"
    # A headless Service translates no port.
    node = find(objects, "Deployment", "-route-grpc")
    [attach] = [it for it in container(node)["ports"] if it["name"] == "attach"]
    assert port["port"] == attach["containerPort"]
    assert flags(node)["attach-listen"][0].endswith(f":{port['port']}")


def scheme(scenario):
    return "https" if scenario in WITH_TLS else "http"


@pytest.mark.parametrize(("scenario", "grpc"), [("ha", "kubernetes.io/h2c"), ("tls", "https")])
def test_service_protocols_are_declared(scenario, grpc):
    objects = objects_of(scenario)
    for service, protocol in {
        "-route-grpc": grpc,
        "-route-grpc-headless": grpc,
        "-pdu-gateway": "tcp",
    }.items():
        [port] = find(objects, "Service", service)["spec"]["ports"]
        assert port["appProtocol"] == protocol


@pytest.mark.parametrize(("scenario", "policy"), [("default", None), ("ha", "Local"), ("gateways", "Local")])
def test_msgservers_keep_their_address(scenario, policy):
    service = find(objects_of(scenario), "Service", "-pdu-gateway")["spec"]
    assert service.get("externalTrafficPolicy") == policy
    assert service["sessionAffinity"] == "None"


# Life and death of pods


@every_scenario
def test_there_is_one_node_and_never_two_or_they_have_an_engine(scenario):
    nodes = [
        workload
        for workload in workloads(objects_of(scenario))
        if container(workload)["command"] == ["/route-grpc"] or "embedded" in flags(workload)
    ]
    assert len(nodes) == (0 if scenario == "gateways" else 1)
    for node in nodes:
        assert ("engine" in flags(node)) == (scenario in NODES)
        assert node["spec"]["replicas"] == NODES.get(scenario, 1)
        rolls = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        assert node["spec"]["strategy"] == (rolls if scenario in NODES else {"type": "Recreate"})


@pytest.mark.parametrize("scenario", [it for it in SCENARIOS if it not in EMBEDDED])
def test_a_new_gateway_is_there_before_an_old_one_goes(scenario):
    gateway = find(objects_of(scenario), "Deployment", "-pdu-gateway")
    assert gateway["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@every_scenario
def test_grpc_probes_ask_for_names_that_the_node_registers(scenario):
    node = find(objects_of(scenario), "Deployment", "-route-grpc")
    if node is None:
        return
    probes = {kind: container(node)[f"{kind}Probe"]["grpc"] for kind in ("startup", "liveness", "readiness")}
    ports = {port["name"]: port["containerPort"] for port in container(node)["ports"]}

    assert {kind: probe["service"] for kind, probe in probes.items()} == {
        "startup": "liveness",
        "liveness": "liveness",
        "readiness": "readiness",
    }
    assert {probe["service"] for probe in probes.values()} <= sources.health_names()
    # A gRPC probe takes a number, not a name.
    assert {probe["port"] for probe in probes.values()} == {ports["health" if scenario in WITH_TLS else "grpc"]}


@every_scenario
def test_gateway_probes_ask_pages_that_the_probe_port_has(scenario):
    gateway = find(objects_of(scenario), "Deployment", "-embedded" if scenario in EMBEDDED else "-pdu-gateway")
    pages = {kind: container(gateway)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    probes = (sources.ROOT / "route-grpc/runtime/src/probes.rs").read_text()

    assert [page["path"] for page in pages.values()] == ["/livez", "/livez", "/readyz"]
    for page in pages.values():
        assert page["port"] == 9464
        assert f'.route("{page["path"]}"' in probes


@every_scenario
def test_pods_have_time_to_drain(scenario):
    seconds = {"everything": (10, 60)}
    for workload in workloads(objects_of(scenario)):
        pre_stop, grace = seconds.get(scenario, (5, 45))
        # No shell in the image: the kubelet sleeps.
        assert container(workload)["lifecycle"] == {"preStop": {"sleep": {"seconds": pre_stop}}}
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


@pytest.mark.parametrize(
    ("scenario", "budget"), [("default", None), ("embedded", None), ("ha", 1), ("autoscaled", 1), ("everything", "50%")]
)
def test_there_is_a_disruption_budget_where_there_are_several(scenario, budget):
    found = find(objects_of(scenario), "PodDisruptionBudget", "-pdu-gateway")
    assert (found and found["spec"]["maxUnavailable"]) == budget


def test_gateways_are_spread_but_for_the_old_ones_of_a_roll():
    spec = find(objects_of("ha"), "Deployment", "-pdu-gateway")["spec"]["template"]["spec"]
    keys = [it["topologyKey"] for it in spec["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for constraint in spec["topologySpreadConstraints"]:
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_an_autoscaler_owns_the_number_of_gateways():
    objects = objects_of("autoscaled")
    gateway = find(objects, "Deployment", "-pdu-gateway")
    scaler = find(objects, "HorizontalPodAutoscaler", "-pdu-gateway")

    assert "replicas" not in gateway["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == gateway["metadata"]["name"]
    assert find(objects_of("default"), "HorizontalPodAutoscaler", "-pdu-gateway") is None


# Security


@every_scenario
def test_pods_may_do_nothing_that_they_need_not(scenario):
    pods = [it["spec"]["template"]["spec"] for it in workloads(objects_of(scenario))]
    pods += [it["spec"] for it in objects_of(scenario) if it["kind"] == "Pod"]
    pods += [it["spec"]["template"]["spec"] for it in objects_of(scenario) if it["kind"] == "Job"]
    assert len(pods) >= 2
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"].get("runAsUser") == (None if scenario == "extra" else USER)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        only, *others = pod["containers"]
        assert not others or scenario == "extra"
        context = only["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in only["resources"]["limits"]


def test_a_security_context_loses_what_is_set_to_null_and_gains_what_is_given():
    for it in objects_of("extra"):
        if it["kind"] in ("Deployment", "Pod", "Job"):
            assert spec_of(it)["securityContext"] == {
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            assert {"runAsUser", "runAsGroup"} & set(container(it)["securityContext"]) == set()


def test_environment_names_collide_with_nobody_s():
    for workload in workloads(objects_of("default")):
        assert "env" not in container(workload)
    for workload in workloads(objects_of("everything")):
        assert [it["name"] for it in container(workload)["env"]] == ["POD_IP", "RUST_BACKTRACE"]


@every_scenario
def test_policies_open_exactly_the_ports_that_pods_have(scenario):
    objects = objects_of(scenario)
    policies = [it for it in objects if it["kind"] == "NetworkPolicy"]
    assert len(policies) == (0 if scenario == "open" else len(workloads(objects)))
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        workload = find(objects, "Deployment", policy["metadata"]["name"])
        ports = {port["containerPort"] for port in container(workload)["ports"]}
        if scenario == "everything":
            ports -= {9464}  # metricsFrom is empty
        ports -= {50053}  # The kubelet needs no rule for probes.
        assert {port for port, _ in ingress(policy)} == ports
        # A rule without peers would open its port to everybody.
        assert all(peers for _, peers in ingress(policy))


@pytest.mark.parametrize("scenario", ["default", "embedded"])
def test_grpc_is_open_to_labelled_pods_only(scenario):
    suffix = {"default": "-route-grpc", "embedded": "-embedded"}[scenario]
    policy = find(objects_of(scenario), "NetworkPolicy", suffix)
    [peers] = [peers for port, peers in ingress(policy) if port == 50051]
    # Of this namespace: no namespaceSelector.
    assert peers == [{"podSelector": {"matchLabels": {"route.teamtalk/grpc-client": "true"}}}]


def test_gateways_have_a_port_of_their_own_to_which_nobody_else_comes():
    def peers(scenario):
        policy = find(objects_of(scenario), "NetworkPolicy", "-route-grpc")
        [peers] = [peers for port, peers in ingress(policy) if port == 50052]
        return peers

    [only] = peers("default")
    assert set(only) == {"podSelector"}
    selected = only["podSelector"]["matchLabels"]
    objects = objects_of("default")
    for workload in workloads(objects):
        is_gateway = workload["metadata"]["name"].endswith("-pdu-gateway")
        assert (selected.items() <= workload["spec"]["template"]["metadata"]["labels"].items()) == is_gateway
    # A second group for the same node is another release.
    second = find(objects_of("gateways"), "Deployment", "-pdu-gateway")
    assert selected.items() <= second["spec"]["template"]["metadata"]["labels"].items()
    assert not selected.items() <= find(objects, "Pod", "-check")["metadata"]["labels"].items()
    assert peers("tls") == [only, {"ipBlock": {"cidr": "10.30.0.0/16"}}]


def test_the_policy_for_pdus_is_the_gateways_allow_list():
    def ranges(scenario):
        policy = find(objects_of(scenario), "NetworkPolicy", "-pdu-gateway")
        [peers] = [peers for port, peers in ingress(policy) if port == 8200]
        return [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]

    [built_in] = sources.re.findall(
        r'TT_GATEWAY_ALLOW_CIDR.*?default_value = "([^"]+)"', sources.GATEWAY_SETTINGS.read_text(), sources.re.DOTALL
    )
    routed = [it for it in built_in.split(",") if not ipaddress.ip_network(it).is_loopback]
    assert ranges("default") == routed
    assert ranges("everything") == ["10.1.0.0/16", "10.2.0.0/16", "fd00::/8"]


def test_the_node_connects_to_nobody_and_gateways_to_the_node():
    objects = objects_of("default")
    assert find(objects, "NetworkPolicy", "-route-grpc")["spec"]["egress"] == []
    egress = find(objects, "NetworkPolicy", "-pdu-gateway")["spec"]["egress"]
    assert [port["port"] for rule in egress for port in rule["ports"]] == [53, 53, 50052]
    elsewhere = find(objects_of("gateways"), "NetworkPolicy", "-pdu-gateway")["spec"]["egress"]
    assert [port["port"] for rule in elsewhere for port in rule["ports"]] == [53, 53, 50051, 50052, 4317]


def test_traces_go_to_the_collector_and_may():
    objects = objects_of("monitoring")
    for workload in workloads(objects):
        env = {it["name"]: it.get("value") for it in container(workload)["env"]}
        assert env.pop("OTEL_RESOURCE_ATTRIBUTES").endswith(",k8s.pod.name=$(POD_NAME)")
        assert env == {
            "POD_NAME": None,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.monitoring:4317",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        egress = find(objects, "NetworkPolicy", workload["metadata"]["name"])["spec"]["egress"]
        ports = [port["port"] for rule in egress for port in rule["ports"]]
        assert ports.count(53) == 2 and ports[-1] == 4317


def ingress(policy):
    for rule in policy["spec"].get("ingress", []):
        for port in rule["ports"]:
            yield port["port"], rule["from"]


# Values that end up somewhere


def test_the_embedded_pod_has_the_node_s_flags_and_no_process_s():
    [pod] = workloads(render("mode=embedded", "node.flags.detach-grace=20s", "node.flags.shutdown-deadline=10s"))
    assert flags(pod)["detach-grace"] == ["20s"]
    assert "shutdown-deadline" not in flags(pod)
    assert "upstream" not in flags(pod)
    service = find(render("mode=embedded"), "Service", "-route-grpc")
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "embedded"


def test_a_gateway_s_flag_wins_over_the_embedded_node_s():
    [pod] = workloads(render("mode=embedded", "node.flags.log-filter=debug", "gateway.flags.log-filter=warn"))
    assert flags(pod)["log-filter"] == ["warn"]


def test_flags_are_written_as_the_command_line_wants_them():
    given = container(find(objects_of("everything"), "Deployment", "-pdu-gateway"))["args"]
    assert "--lenient" in given
    assert "--max-connections=1000000" in given
    assert [it for it in given if "allow-cidr" in it] == [
        "--allow-cidr=10.1.0.0/16",
        "--allow-cidr=10.2.0.0/16",
        "--allow-cidr=fd00::/8",
    ]
    off = workloads(render("mode=embedded", "gateway.flags.lenient=false"))
    assert not any("lenient" in it for it in container(off[0])["args"])


def test_a_msg_server_has_a_port_or_hosts_or_both():
    objects = objects_of("everything")
    given = flags(find(objects, "Deployment", "-pdu-gateway"))
    assert given["listen"] == ["$(POD_IP):8200", "$(POD_IP):8201=msg-1", "$(POD_IP):8202=msg-2"]
    assert given["msg-server"] == ["msg-2=10.1.0.7", "msg-3=10.1.0.8,fd00::8"]
    service = find(objects, "Service", "-pdu-gateway")
    ports = [(it["port"], it["targetPort"], it.get("nodePort")) for it in service["spec"]["ports"]]
    assert ports == [(8300, "pdu", None), (8201, "pdu-8201", 30821), (8202, "pdu-8202", None)]
    policy = find(objects, "NetworkPolicy", "-pdu-gateway")
    assert {port for port, peers in ingress(policy) if {"ipBlock": {"cidr": "10.1.0.0/16"}} in peers} == {8200, 8201, 8202}


def test_a_dialect_is_a_name_or_a_definition_that_is_mounted():
    def server(objects):
        return find(objects, "Deployment", "-pdu-gateway") or find(objects, "Deployment", "-embedded")

    def pod(objects):
        gateway = server(objects)
        return flags(gateway).get("dialect"), gateway["spec"]["template"]

    for mode in ("separate", "embedded"):
        named, template = pod(render(f"mode={mode}", "gateway.dialect.name=0x08xx"))
        assert named == ["0x08xx"]
        assert "volumes" not in template["spec"] and "annotations" not in template["metadata"]
        assert pod(render(f"mode={mode}"))[0] is None

        objects = render(f"mode={mode}", "gateway.dialect.definition=name = \"ours\"")
        [path], template = pod(objects)
        [volume] = template["spec"]["volumes"]
        [mount] = container(server(objects))["volumeMounts"]
        folder, name = path.rsplit("/", 1)
        assert mount == {"name": volume["name"], "mountPath": folder, "readOnly": True}
        config = find(objects, "ConfigMap", "-pdu-gateway-dialect")
        assert volume["configMap"] == {"name": config["metadata"]["name"]}
        assert config["data"] == {name: 'name = "ours"'}


def test_another_definition_of_a_dialect_replaces_the_pods():
    def annotations(definition):
        objects = render(f"gateway.dialect.definition={definition}", "gateway.podAnnotations.example=a", "gateway.podAnnotations.more=b")
        return find(objects, "Deployment", "-pdu-gateway")["spec"]["template"]["metadata"]["annotations"]

    one, same, other = (annotations(it) for it in ("name=1", "name=1", "name=2"))
    assert one == same
    assert {it for it in one if one[it] != other[it]} == {"checksum/dialect"}
    assert set(one) == {"checksum/dialect", "example", "more"}


def test_a_definition_stands_in_the_config_map_as_it_was_given():
    given = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())["gateway"]["dialect"]["definition"]
    assert "{{ not a template }}" in given
    config = find(objects_of("everything"), "ConfigMap", "-pdu-gateway-dialect")
    assert config["data"] == {"dialect.toml": given}


def test_the_check_speaks_what_its_gateways_speak():
    for setting in ("name=", "name=proto3", "name=0x08xx", "definition=name"):
        objects = render(f"gateway.dialect.{setting}")
        gateway, check = find(objects, "Deployment", "-pdu-gateway"), find(objects, "Pod", "-check")
        assert flags(check).get("dialect") == flags(gateway).get("dialect")
        assert check["spec"].get("volumes") == gateway["spec"]["template"]["spec"].get("volumes")
        assert container(check).get("volumeMounts") == container(gateway).get("volumeMounts")


def test_gateways_of_a_node_elsewhere_bring_none_along():
    objects = objects_of("gateways")
    assert [it["metadata"]["name"] for it in workloads(objects)] == ["tt-pdu-gateway"]
    assert find(objects, "Service", "-route-grpc") is None
    assert flags(workloads(objects)[0])["upstream"] == ["http://route-a.example:50051", "http://route-b.example:50052"]


@pytest.mark.parametrize(
    ("registry", "repository", "image"),
    [
        ("", "localhost/teamtalk-route", "localhost/teamtalk-route:v1"),
        ("mirror.example", "localhost/teamtalk-route", "mirror.example/teamtalk-route:v1"),
        ("mirror.example:5000/x", "registry.example/im/route", "mirror.example:5000/x/im/route:v1"),
        ("mirror.example", "host:5000/im/route", "mirror.example/im/route:v1"),
        ("mirror.example", "im/route", "mirror.example/im/route:v1"),
    ],
)
def test_a_global_registry_takes_the_place_of_the_image_s(registry, repository, image):
    objects = render(f"global.imageRegistry={registry}", f"image.repository={repository}", "image.tag=v1")
    pods = [it for it in objects if it["kind"] in ("Deployment", "Pod", "Job")]
    assert {container(it)["image"] for it in pods} == {image} and len(pods) == 4


@pytest.mark.parametrize("mode", ["separate", "embedded"])
def test_pods_have_what_else_is_given(mode):
    given = yaml.safe_load((CHART / "ci/extra-values.yaml").read_text())
    settings = ("--set", f"mode={mode}", "--values", CHART / "ci/extra-values.yaml")
    objects = [it for it in yaml.safe_load_all(template(*settings).stdout) if it]
    components = {"-route-grpc": "node", "-pdu-gateway": "gateway"} if mode == "separate" else {"-embedded": "gateway"}
    for suffix, component in components.items():
        values, workload = given[component], find(objects, "Deployment", suffix)
        spec = spec_of(workload)
        assert [it for it in spec["volumes"] if it["name"] == "spool"] == values["extraVolumes"]
        assert [it for it in container(workload)["volumeMounts"] if it["name"] == "spool"] == values["extraVolumeMounts"]
        assert spec["containers"][1:] == values["extraContainers"]
        assert values["podSpec"].items() <= spec.items()


def test_a_digest_wins_over_a_tag():
    image = container(workloads(objects_of("everything"))[0])["image"]
    assert image.startswith("registry.example/im/teamtalk-route@sha256:")
    tagged = container(workloads(render("image.tag=1.2.3"))[0])["image"]
    assert tagged == "localhost/teamtalk-route:1.2.3"


def test_extra_objects_are_templates():
    extra = find(objects_of("everything"), "ConfigMap", "tt-extra")
    assert extra["metadata"]["namespace"] == NAMESPACE
    assert find(objects_of("everything"), "ConfigMap", "tt-more")


def test_the_ha_scenario_is_the_ha_file():
    scenario = yaml.safe_load((CHART / "ci/ha-values.yaml").read_text())
    assert scenario.pop("security") == {"insecure": True}
    assert scenario == yaml.safe_load((CHART / "values-ha.yaml").read_text())


# The test pod and the notes


@every_scenario
def test_the_check_asks_services_of_this_release(scenario):
    objects = objects_of(scenario)
    pod = find(objects, "Pod", "-check")
    hosts = {f"{it['metadata']['name']}:{it['spec']['ports'][0]['port']}" for it in objects if it["kind"] == "Service"}

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["labels"]["route.teamtalk/grpc-client"] == "true"
    assert flags(pod)["pdu"][0] in hosts
    if scenario != "gateways":
        assert flags(pod)["address"][0].removeprefix(f"{scheme(scenario)}://") in hosts
    else:
        assert flags(pod)["address"] == ["http://route-a.example:50053"]


@every_scenario
def test_an_upgrade_begins_with_a_short_run_of_its_image(scenario):
    objects = objects_of(scenario)
    job = find(objects, "Job", "-image")
    if scenario == "open":
        assert job is None
        return
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 60)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    [image] = {container(it)["image"] for it in [*workloads(objects), job]}
    assert image
    assert container(job)["args"] == ["--version"]
    # No Service and no policy takes it for one of ours.
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert not any(selector.items() <= labels.items() for it in objects for selector in selectors_of(it))


def test_commands_exist():
    pods = [it for scenario in SCENARIOS for it in objects_of(scenario) if it["kind"] in ("Deployment", "Pod")]
    commands = {(container(it)["command"][0], container(it)["args"][0]) for it in pods}
    assert {binary for binary, _ in commands} == {"/route-grpc", "/pdu-gateway"}
    assert {command for binary, command in commands if binary == "/route-grpc"} == {"serve", "check"}
    assert {"serve", "check"} <= sources.subcommands()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "one node, 1 gateway."),
        (["gateway.replicas=3"], "one node, 3 gateways."),
        (["gateway.replicas=0"], "the port for MsgServers is closed"),
        (["mode=embedded", "gateway.replicas=0"], "the port for MsgServers is closed"),
        (["mode=embedded"], "one pod, gateway and node in one process."),
        ([], "WARNING: security.insecure is true"),
        ([], "What guards it is the NetworkPolicy"),
        (["networkPolicy.enabled=false"], "networkPolicy.enabled is false, so that is every pod"),
        (["mode=embedded", "security.policy=version = 1"], "Who may do what there is in its policy"),
        (["security.tls.enabled=true", "security.tls.issuerRef.name=a"], "gRPC by TLS at tt-route-grpc.im.svc:50051"),
        ([], "helm test -n im tt"),
        ([], "RouteServerIP1"),
        ([], "is in no registry"),
        ([], "Gateways admit 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7."),
        (["gateway.flags.allow-cidr=10.1.0.0/16"], "Gateways admit 10.1.0.0/16."),
        (["gateway.service.type=LoadBalancer"], "loadBalancer.ingress"),
        (["gateway.service.type=NodePort"], "nodePort"),
    ],
)
def test_the_notes_say_what_to_do_next(settings, said):
    notes = render(*settings, r'extraObjects[0]=notes: {{ include "route.notes" . | toJson }}')
    [text] = [it["notes"] for it in notes if "notes" in it]
    assert said in text
