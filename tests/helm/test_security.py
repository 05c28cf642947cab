"""Who may do what, and who shows what to whom: policy, TLS, tokens."""

import tomllib

import pytest

from chart import container, find, flags, objects_of, refusal, render, workloads
from provided import spec_of

TLS = ("security.tls.enabled=true", "security.tls.issuerRef.name=im")
TOKENS = ("security.tokens.gateways=true", "security.tokens.keys.name=keys")
OWN_URI = "spiffe://cluster.local/ns/im/sa/tt-pdu-gateway"
CA, TLS_FOLDER = "/etc/teamtalk-route/ca", "/etc/teamtalk-route/tls"

both_modes = pytest.mark.parametrize("mode", ["separate", "embedded"])


def node_of(objects):
    return find(objects, "Deployment", "-embedded") or find(objects, "Deployment", "-route-grpc")


def volume(it, name):
    """What a pod mounts under a name, and where; None if nothing."""
    volumes = [volume for volume in spec_of(it).get("volumes", []) if volume["name"] == name]
    mounts = [mount for mount in container(it).get("volumeMounts", []) if mount["name"] == name]
    assert len(volumes) == len(mounts) <= 1
    if not volumes:
        return None
    assert mounts[0]["readOnly"] is True
    # A whole folder: the kubelet does not replace what is mounted by the name of a file.
    assert "subPath" not in mounts[0]
    return {key: value for key, value in volumes[0].items() if key != "name"}, mounts[0]["mountPath"]


# The policy


@both_modes
def test_a_node_has_a_policy_or_is_insecure(mode):
    insecure = node_of(render(f"mode={mode}", "security.insecure=true"))
    assert "insecure" in flags(insecure) and "policy" not in flags(insecure)
    assert "volumes" not in spec_of(insecure)

    objects = render(f"mode={mode}", *TLS)
    assert_reads(node_of(objects), "policy.toml", {"configMap": {"name": "tt-policy"}})
    assert find(objects, "ConfigMap", "-policy")["data"].keys() == {"policy.toml"}

    for kind, source in (("ConfigMap", {"configMap": {"name": "mine"}}), ("Secret", {"secret": {"secretName": "mine"}})):
        given = {"kind": kind, "name": "mine", "key": "rights.toml"}
        objects = render(f"mode={mode}", *TLS, *(f"security.existingPolicy.{name}={value}" for name, value in given.items()))
        assert find(objects, "ConfigMap", "-policy") is None
        assert_reads(node_of(objects), "rights.toml", source)


def assert_reads(node, key, source):
    assert "insecure" not in flags(node)
    [path] = flags(node)["policy"]
    assert volume(node, "policy") == (source, path.removesuffix(f"/{key}"))


def policy(objects):
    return tomllib.loads(find(objects, "ConfigMap", "-policy")["data"]["policy.toml"])


def test_gateways_of_the_release_are_added_to_what_the_policy_says():
    for given in ("version = 1", "version = 1\n[[allow]]\nuri = \"spiffe://a/b\"\nroles = [\"reader\"]\n"):
        composed = policy(render(*TLS, f"security.policy={given.replace('[', '[').replace(',', chr(92) + ',')}"))
        *users, own = composed["allow"]
        assert users == tomllib.loads(given).get("allow", [])
        assert own == {
            "uri": OWN_URI,
            # The two that are not "gateway" are what the check needs.
            "roles": ["gateway", "listener", "publisher"],
            "gateway_ids": ["tt-pdu-gateway-*"],
            "subscribe": ["p2p_command"],
            "publish": ["p2p_command"],
        }


def test_the_entry_of_gateways_is_of_what_they_show():
    assert policy(objects_of("tls"))["allow"][-1]["uri"] == "spiffe://site/ns/im/sa/gateway"
    by_token = policy(render(*TLS, *TOKENS))["allow"]
    assert [it["subject"] for it in by_token] == ["system:serviceaccount:im:tt"]
    assert "uri" not in by_token[0]
    # An embedded server has no gateways.
    [check] = policy(render(*TLS, "mode=embedded"))["allow"]
    assert check["roles"] == ["listener", "publisher"] and "gateway_ids" not in check
    # Without TLS nobody can show anything.
    assert "allow" not in policy(render("mode=embedded", "security.policy=version = 1"))


def test_gateways_get_nothing_of_the_node_s():
    plain = find(render("mode=gateways", "gateway.upstreams={http://a:1}"), "Deployment", "-pdu-gateway")
    assert "volumes" not in spec_of(plain)
    gateway = find(objects_of("tokens"), "Deployment", "-pdu-gateway")
    assert {volume["name"] for volume in spec_of(gateway)["volumes"]} == {"ca", "token"}
    # Of the node's secret whom to trust, and not its key.
    source, _ = volume(gateway, "ca")
    assert source == {"secret": {"secretName": "tt-route-grpc-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}


# TLS


@both_modes
def test_a_node_shows_its_certificate_and_asks_for_that_of_others(mode):
    objects = render(f"mode={mode}", *TLS)
    node = node_of(objects)
    given = flags(node)
    assert given["tls-cert"] == [f"{TLS_FOLDER}/tls.crt"] and given["tls-key"] == [f"{TLS_FOLDER}/tls.key"]
    assert given["tls-client-ca"] == [f"{CA}/ca.crt"]
    assert volume(node, "tls") == ({"secret": {"secretName": "tt-route-grpc-tls"}}, TLS_FOLDER)
    assert volume(node, "ca")[1] == CA
    # Without a policy, who comes is nothing to it.
    insecure = node_of(render(f"mode={mode}", *TLS, "security.insecure=true"))
    assert "tls-client-ca" not in flags(insecure) and volume(insecure, "ca") is None


def test_gateways_and_the_check_show_the_same_and_trust_the_same():
    for objects in (render(*TLS), render(*TLS, *TOKENS), render(*TLS, "security.insecure=true"), objects_of("tls")):
        gateway, check = find(objects, "Deployment", "-pdu-gateway"), find(objects, "Pod", "-check")
        renamed = {"token-file": "upstream-token-file", "tls-": "upstream-"}
        shown = {}
        for name, value in flags(check).items():
            for old, new in renamed.items():
                if name.startswith(old):
                    shown[new + name.removeprefix(old)] = value
        assert shown == {name: it for name, it in flags(gateway).items() if name.startswith("upstream-")} != {}
        for name in ("ca", "tls", "token"):
            assert volume(gateway, name) == volume(check, name)
            named = any(f"/{name}/" in value for values in shown.values() for value in values)
            assert named == (volume(gateway, name) is not None)


@pytest.mark.parametrize(
    ("settings", "certificate", "token"),
    [((), True, False), (TOKENS, False, True), (("security.insecure=true",), False, False)],
)
def test_a_gateway_shows_a_certificate_or_a_token_or_nothing(settings, certificate, token):
    gateway = find(render(*TLS, *settings), "Deployment", "-pdu-gateway")
    assert ("upstream-cert" in flags(gateway), "upstream-token-file" in flags(gateway)) == (certificate, token)
    assert flags(gateway)["upstream-ca"] == [f"{CA}/ca.crt"]


def test_a_bundle_takes_the_place_of_what_the_secrets_trust():
    objects = objects_of("tls")
    for it in (*workloads(objects), find(objects, "Pod", "-check")):
        assert volume(it, "ca") == ({"configMap": {"name": "im-roots"}}, CA)
        used = [value for name, [value] in ((n, v) for n, v in flags(it).items() if n.endswith("-ca"))]
        assert used == [f"{CA}/roots.pem"]


def test_cert_manager_makes_what_pods_mount_and_nothing_else():
    objects = objects_of("cert-manager")
    node, gateway = (find(objects, "Certificate", it)["spec"] for it in ("tt-route-grpc", "tt-pdu-gateway"))
    assert node["secretName"] == volume(node_of(objects), "tls")[0]["secret"]["secretName"]
    assert gateway["secretName"] == volume(find(objects, "Deployment", "-pdu-gateway"), "tls")[0]["secret"]["secretName"]
    assert (node["usages"], gateway["usages"]) == (["digital signature", "server auth"], ["digital signature", "client auth"])
    assert gateway["uris"] == [OWN_URI] and "dnsNames" not in gateway
    for it in (node, gateway):
        assert it["issuerRef"] == {"name": "im", "kind": "ClusterIssuer", "group": "cert-manager.io"}
        assert (it["duration"], it["renewBefore"]) == ("720h", "240h")
        assert it["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
        known = {"secretName", "issuerRef", "duration", "renewBefore", "privateKey", "usages", "uris", "dnsNames"}
        assert set(it) <= known
    # Whatever of its Services' names a caller uses.
    services = [it["metadata"]["name"] for it in objects if it["kind"] == "Service" and "-route-grpc" in it["metadata"]["name"]]
    assert set(node["dnsNames"]) == {
        f"{service}{suffix}" for service in services for suffix in ("", ".im", ".im.svc", ".im.svc.cluster.local")
    }


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ((), {"tt-route-grpc", "tt-pdu-gateway"}),
        (("security.tls.node.existingSecret=a",), {"tt-pdu-gateway"}),
        (("security.tls.gateway.existingSecret=a",), {"tt-route-grpc"}),
        (TOKENS, {"tt-route-grpc"}),
        (("mode=gateways", "gateway.upstreams={https://a:1}"), {"tt-pdu-gateway"}),
        (("mode=embedded",), {"tt-route-grpc", "tt-pdu-gateway"}),
    ],
)
def test_certificates_are_made_where_nobody_else_does(settings, made):
    assert {it["metadata"]["name"] for it in render(*TLS, *settings) if it["kind"] == "Certificate"} == made


# Tokens


@both_modes
def test_a_node_takes_tokens_for_it_of_whom_it_is_told(mode):
    objects = render(f"mode={mode}", *TLS, "security.tokens.keys.name=keys", "security.tokens.issuers={https://a,https://b}")
    given = flags(node_of(objects))
    assert volume(node_of(objects), "token-keys") == ({"configMap": {"name": "keys"}}, given["token-keys"][0].removesuffix("/jwks.json"))
    assert (given["token-audience"], given["token-issuer"]) == (["teamtalk-route"], ["https://a", "https://b"])
    assert not any(name.startswith("token-") for name in flags(node_of(render(f"mode={mode}", *TLS))))


def test_the_kubelet_keeps_a_token_for_gateways_fresh():
    gateway = find(objects_of("tokens"), "Deployment", "-pdu-gateway")
    source, folder = volume(gateway, "token")
    wanted = {"path": "token", "audience": "im-route", "expirationSeconds": 1800}
    assert source == {"projected": {"sources": [{"serviceAccountToken": wanted}]}}
    assert flags(gateway)["upstream-token-file"] == [f"{folder}/token"]
    assert spec_of(gateway)["automountServiceAccountToken"] is False


def test_turning_tls_on_is_another_way_to_the_node():
    [plain], [secure] = (flags(find(render(*it), "Deployment", "-pdu-gateway"))["upstream"] for it in ((), TLS))
    assert (plain, secure) == ("http://tt-route-grpc-headless:50052", "https://tt-route-grpc-headless:50052")


def test_nothing_is_installed_until_somebody_says_who_may_do_what():
    for mode in ("separate", "embedded"):
        said = refusal(f"mode={mode}", "security.insecure=false")
        assert "security.policy" in said and "security.insecure=true" in said
