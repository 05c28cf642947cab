"""What pods mount, as a cluster would provide it: ConfigMaps of the release, secrets by a played cert-manager, what an
operator keeps beside the release, tokens of service accounts."""

import base64
import json
import re
import subprocess
import time

# The names and keys of ci/tls-values.yaml and ci/tokens-values.yaml.
SERVER_NAME, GATEWAY_URI = "node.im.example", "spiffe://site/ns/im/sa/gateway"
ISSUER = "https://kubernetes.default.svc"
CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n"


def openssl(*arguments, input=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=input, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """Signs certificates."""

    def __init__(self, folder, name="authority"):
        self._folder = folder / name
        self._folder.mkdir()
        (self._folder / "config").write_text(CONFIG)
        self._make("ca", f"/CN={name}", "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        self.root = (self._folder / "ca.crt").read_text()

    def issue(self, usages, names=(), uris=()):
        """A secret as cert-manager lays it out. Usages as in its Certificates."""
        purposes = [{"server auth": "serverAuth", "client auth": "clientAuth"}[it] for it in usages if it.endswith(" auth")]
        sans = ",".join([*(f"DNS:{it}" for it in names), *(f"URI:{it}" for it in uris)])
        extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", f"subjectAltName={sans}"]
        extensions.append(f"extendedKeyUsage={','.join(purposes)}")
        self._make("tls", "/CN=tls", *extensions, signed_by=("-CA", self._folder / "ca.crt", "-CAkey", self._folder / "ca.key"))
        made = {name: (self._folder / name).read_text() for name in ("tls.crt", "tls.key")}
        return {**made, "ca.crt": self.root}

    def _make(self, name, subject, *extensions, signed_by=()):
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self._folder / f"{name}.key")
        added = [word for it in extensions for word in ("-addext", it)]
        config = ("-config", self._folder / "config", "-subj", subject, "-days", 2)
        openssl("req", "-x509", *config, *key, *added, *signed_by, "-out", self._folder / f"{name}.crt")


class Issuer:
    """Signs tokens, as Kubernetes does for service accounts."""

    def __init__(self, folder):
        self._key = folder / "issuer.key"
        openssl("genrsa", "-out", self._key, 2048)
        modulus = openssl("rsa", "-in", self._key, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        key = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "e": "AQAB", "n": encoded(bytes.fromhex(modulus))}
        self.keys = json.dumps({"keys": [key]})

    def token(self, account, audience, seconds):
        now = int(time.time())
        subject = f"system:serviceaccount:im:{account}"
        claims = {"iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + seconds}
        parts = [encoded(json.dumps(it).encode()) for it in ({"alg": "RS256", "kid": "1"}, claims)]
        signature = openssl("dgst", "-sha256", "-sign", self._key, input=".".join(parts).encode())
        return ".".join([*parts, encoded(signature)])


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provided:
    """What there is to be mounted, by kind and name."""

    def __init__(self, objects, folder):
        # Of tokens in seconds, if it is not what their volume asks for.
        self.lifetime = None
        self._contents = {("ConfigMap", it["metadata"]["name"]): it["data"] for it in objects if it["kind"] == "ConfigMap"}
        volumes = [volume for it in objects for volume in spec_of(it).get("volumes", [])]
        if any("secret" in it or "projected" in it for it in volumes):
            self._keep_secrets(objects, folder)

    def _keep_secrets(self, objects, folder):
        self.authority, self.issuer = Authority(folder), Issuer(folder)
        for it in (it for it in objects if it["kind"] == "Certificate"):
            names = (it["spec"].get(name, []) for name in ("usages", "dnsNames", "uris"))
            self.set("Secret", it["spec"]["secretName"], self.authority.issue(*names))
        self.set("Secret", "im-node", self.authority.issue(["server auth"], [SERVER_NAME]))
        self.set("Secret", "im-gateway", self.authority.issue(["client auth"], uris=[GATEWAY_URI]))
        self.set("Secret", "im-nats", {"password": "secret", "route.creds": "-----BEGIN NATS USER JWT-----"})
        self.set("Secret", "im-nats-tls", self.authority.issue(["client auth"], uris=["spiffe://site/ns/im/sa/node"]))
        self.set("ConfigMap", "im-roots", {"roots.pem": self.authority.root})
        self.set("Secret", "im-keys", {"keys.json": self.issuer.keys})

    def set(self, kind, name, files):
        self._contents[kind, name] = files

    def files(self, volume, account):
        """What is in a volume of a pod of this service account, and what it is called: texts by their names."""
        if "projected" in volume:
            [source] = volume["projected"]["sources"]
            wanted = source["serviceAccountToken"]
            seconds = self.lifetime or wanted["expirationSeconds"]
            return {wanted["path"]: self.issuer.token(account, wanted["audience"], seconds)}
        if "emptyDir" in volume:
            return {}
        files = self._contents[source_of(volume)]
        items = volume.get("secret", {}).get("items")
        return {it["path"]: files[it["key"]] for it in items} if items else files


def source_of(volume):
    """Kind and name of what a volume shows."""
    if "configMap" in volume:
        return "ConfigMap", volume["configMap"]["name"]
    return "Secret", volume["secret"]["secretName"]


def spec_of(it):
    """A pod's, or that of the pods of a Deployment or a Job."""
    spec = it.get("spec", {})
    return spec.get("template", {}).get("spec", spec)


def server_names(words):
    """Flags that say what a node's certificate has, where an address of this machine takes the place of a Service's name."""
    flags = {"upstream": "--upstream-server-name", "address": "--tls-server-name"}
    for word in words:
        found = re.match(r"--(upstream|address)=https://([\w.-]+):", word)
        if found and not any(it.startswith(flags[found[1]]) for it in words):
            yield f"{flags[found[1]]}={found[2]}"
