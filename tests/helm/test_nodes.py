"""Several nodes: who they are, how they find each other and NATS, and that one without an engine is gone before."""

import pytest
import yaml

import sources
from chart import INSECURE, container, find, flags, objects_of, render, upgrade, words

ENGINE = ("engine.type=nats", "engine.nats.urls={nats://a:4222,nats://b:4222}")
# Nodes of the chart show certificates to each other.
NOT_BY_THE_CHART = {"peer-token-file"}


def node_of(objects):
    return find(objects, "Deployment", "-route-grpc")


def test_the_chart_knows_every_flag_of_the_engine():
    given = {flag for scenario in ("nodes", "nodes-tls") for flag in flags(node_of(objects_of(scenario)))}
    given |= set(flags(node_of(render(*ENGINE, "engine.nats.login.kind=token", "engine.nats.login.secret=a"))))
    assert sources.flags(sources.ENGINE_SETTINGS) - given == NOT_BY_THE_CHART


@pytest.mark.parametrize(
    ("scenario", "settings", "url"),
    [
        ("nodes", (), "http://$(POD_IP)"),
        ("nodes-tls", (), "https://$(POD_IP)"),
        (None, (*ENGINE, "engine.podAddress=[$(POD_IP)]"), "http://[$(POD_IP)]"),
    ],
)
def test_a_node_says_where_its_pod_is(scenario, settings, url):
    node = node_of(objects_of(scenario) if scenario else render(*settings))
    given = flags(node)
    assert (given["advertise-api"], given["advertise-attach"]) == ([f"{url}:50051"], [f"{url}:50052"])
    assert given["listen"][0].endswith(":50051") and given["attach-listen"][0].endswith(":50052")
    fields = {it["name"]: it["valueFrom"]["fieldRef"]["fieldPath"] for it in container(node)["env"]}
    assert fields == {"POD_IP": "status.podIP", "POD_NAME": "metadata.name"}
    assert given["node-id"] == ["$(POD_NAME)"]


def test_gateways_find_every_node_and_have_no_other_flags_than_with_one():
    several, one = (find(it, "Deployment", "-pdu-gateway") for it in (render(*ENGINE, "node.replicas=3"), render()))
    # So turning the engine on replaces no gateway.
    assert several["spec"]["template"] == one["spec"]["template"]


def test_more_nodes_are_the_same_pods():
    one, several = (node_of(render(*ENGINE, f"node.replicas={count}")) for count in (1, 3))
    assert one["spec"]["template"] == several["spec"]["template"], "those that are there would be replaced"


def test_sites_of_two_releases_are_two():
    assert flags(node_of(render(*ENGINE)))["site"] == ["im-tt"]
    assert flags(node_of(objects_of("nodes-tls")))["site"] == ["im"]


@pytest.mark.parametrize(
    ("settings", "given", "mounts"),
    [
        ((), {}, {}),
        (("kind=creds", "secret=s"), {"nats-creds": "nats/creds"}, {"nats": "s"}),
        (("kind=token", "secret=s", "key=t"), {"nats-token-file": "nats/t"}, {"nats": "s"}),
        (("kind=password", "secret=s", "user=u"), {"nats-user": None, "nats-password-file": "nats/password"}, {"nats": "s"}),
    ],
)
def test_what_a_node_shows_to_nats_is_in_a_secret(settings, given, mounts):
    node = node_of(render(*ENGINE, *(f"engine.nats.login.{it}" for it in settings)))
    found = {flag: values for flag, values in flags(node).items() if flag.startswith("nats-")}
    expected = {flag: ["u" if path is None else f"/etc/teamtalk-route/{path}"] for flag, path in given.items()}
    assert found == {"nats-url": ["nats://a:4222", "nats://b:4222"], **expected}
    assert secrets(node) == mounts


def test_tls_towards_nats_is_by_a_secret():
    only_ca = node_of(render(*ENGINE, "engine.nats.tls.secret=s"))
    assert flags(only_ca)["nats-tls-ca"] == ["/etc/teamtalk-route/nats-tls/ca.crt"]
    assert "nats-tls-cert" not in flags(only_ca)
    assert secrets(only_ca) == {"nats-tls": "s"}
    both = flags(node_of(objects_of("nodes-tls")))
    assert both["nats-tls-cert"] + both["nats-tls-key"] == [f"/etc/teamtalk-route/nats-tls/tls.{it}" for it in ("crt", "key")]


def secrets(node):
    """The secrets that a node mounts, by the folder."""
    spec = node["spec"]["template"]["spec"]
    volumes = {it["name"]: it.get("secret", {}).get("secretName") for it in spec.get("volumes", [])}
    paths = {it["mountPath"].removeprefix("/etc/teamtalk-route/"): it["name"] for it in container(node).get("volumeMounts", [])}
    return {path: volumes[name] for path, name in paths.items()}


def test_nodes_know_each_other_by_their_certificates():
    objects = objects_of("nodes-tls")
    certificate = find(objects, "Certificate", "-route-grpc")["spec"]
    given = flags(node_of(objects))

    assert {"server auth", "client auth"} <= set(certificate["usages"])
    assert given["peer-server-name"][0] in certificate["dnsNames"]
    assert given["peer-cert"] == given["tls-cert"] and given["peer-ca"] == given["tls-client-ca"]
    assert certificate["uris"] == ["spiffe://site/ns/im/sa/node"]
    policy = find(objects, "ConfigMap", "-policy")["data"]["policy.toml"]
    assert policy.endswith('[[allow]]\nuri = "spiffe://site/ns/im/sa/node"\nroles = ["node"]')
    # One node shows nothing to others, and nobody has the role.
    alone = objects_of("cert-manager")
    assert "client auth" not in find(alone, "Certificate", "-route-grpc")["spec"]["usages"]
    assert '"node"' not in find(alone, "ConfigMap", "-policy")["data"]["policy.toml"]


def test_nodes_trust_each_other_s_authority_without_a_policy_too():
    tls = ("security.tls.enabled=true", "security.tls.issuerRef.name=im", INSECURE)
    node = node_of(render(*ENGINE, *tls))
    assert flags(node)["peer-ca"] == ["/etc/teamtalk-route/ca/ca.crt"]
    assert "ca" in secrets(node) and "tls-client-ca" not in flags(node)


def test_nodes_are_spread_and_evicted_one_at_a_time():
    objects = objects_of("nodes")
    spec = node_of(objects)["spec"]["template"]["spec"]
    [constraint] = spec["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "route-grpc"
    budget = find(objects, "PodDisruptionBudget", "-route-grpc")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "IfHealthyBudget")
    for alone in (render(), render(*ENGINE)):
        assert find(alone, "PodDisruptionBudget", "-route-grpc") is None
    assert "topologySpreadConstraints" not in node_of(render())["spec"]["template"]["spec"]
    assert find(render(*ENGINE, "node.replicas=2", "node.pdb.enabled=false"), "PodDisruptionBudget", "-route-grpc") is None


def test_nodes_reach_each_other_and_nats():
    policy = find(objects_of("nodes"), "NetworkPolicy", "-route-grpc")["spec"]
    nodes = {"podSelector": {"matchLabels": policy["podSelector"]["matchLabels"]}}
    [peers] = [rule["from"] for rule in policy["ingress"] if rule["ports"][0]["port"] == 50051]
    assert nodes in peers
    dns, others, nats = policy["egress"]
    assert [it["port"] for it in dns["ports"]] == [53, 53]
    assert (others["to"], others["ports"]) == ([nodes], [{"port": 50051, "protocol": "TCP"}])
    assert (nats["to"][0].keys(), nats["ports"]) == ({"namespaceSelector"}, [{"port": 4222, "protocol": "TCP"}])
    # Where nobody says where NATS is: anywhere.
    *_, anywhere = find(objects_of("nodes-tls"), "NetworkPolicy", "-route-grpc")["spec"]["egress"]
    assert anywhere == {"ports": [{"port": 4223, "protocol": "TCP"}]}


# From one node to several


def documents(text):
    return [it for it in yaml.safe_load_all(text) if it]


def live(*settings, replicas=1):
    """A cluster in which this was installed."""
    node = node_of(render(*settings))
    return [{**node, "status": {"replicas": replicas}}]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ((), ("node.replicas=1", *ENGINE), False),
        ((), ("node.replicas=3", *ENGINE), True),
        (ENGINE, ("node.replicas=3", *ENGINE), False),
        (("node.replicas=3", *ENGINE), ("node.replicas=2", *ENGINE, "image.tag=new"), False),
        (("node.replicas=3", *ENGINE), ("node.replicas=3", *ENGINE, "engine.site=other"), True),
        (("node.replicas=3", *ENGINE), ("node.replicas=1", *ENGINE, "engine.site=other"), False),
        (("node.replicas=3", *ENGINE), ("node.replicas=3", "engine.type=nats", "engine.nats.urls={nats://b:4222,nats://c}"), False),
        (("node.replicas=3", *ENGINE), ("node.replicas=3", "engine.type=nats", "engine.nats.urls={nats://c}"), True),
        (("node.replicas=3", *ENGINE), (), False),
    ],
)
def test_several_nodes_begin_only_beside_those_of_their_record(before, after, refused):
    told = upgrade(live(*before), *words(after))
    assert (told.returncode != 0) == refused, told.stderr
    assert ("Do this with node.replicas=1 first" in told.stderr) == refused
    # Where the step is allowed from another record, or none, the old pod is gone before the new one begins.
    strategy = find(documents(told.stdout), "Deployment", "-route-grpc")["spec"]["strategy"]["type"] if not refused else None
    is_same = "engine.type=nats" in before and "engine.type=nats" in after and "engine.site=other" not in after
    assert refused or is_same or strategy == "Recreate"


def test_several_nodes_may_begin_where_none_runs():
    assert upgrade(live(replicas=0), *words(("node.replicas=3", *ENGINE))).returncode == 0
    assert upgrade([], *words(("node.replicas=3", *ENGINE))).returncode == 0
