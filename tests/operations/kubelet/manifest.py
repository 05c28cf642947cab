"""A Deployment's pods, as the kubelet reads them.

A process here gets the command, arguments and environment of its manifest, and listens on the ports of its manifest.
What is different from a cluster stands in `Here`, and nowhere else.
"""

import dataclasses
import re

import yaml
from binaries import binary
from provided import server_names

WILDCARD = "0.0.0.0:"


@dataclasses.dataclass(frozen=True)
class Here:
    """One pod's place on this machine: pods share its network and its host name, and it has no DNS of the cluster.

    - A pod listens on an address of its own, where in a cluster the wildcard address would be its own.
    - Names of Services are replaced by the addresses of the pods behind them, each in a flag of its own; `test_names.py`
      has the rest. Where that is checked against a certificate, the name is told by a flag.
    - What it mounts is in folders of this machine.
    - A gateway is told its id, which it would make of its pod's name.
    - The image's folder is that of the binaries under test.
    """

    pod: str
    address: str
    names: dict
    mounts: dict = dataclasses.field(default_factory=dict)

    def arguments(self, word):
        for path, folder in self.mounts.items():
            word = word.replace(f"={path}/", f"={folder}/")
        word = word.replace("=" + WILDCARD, f"={self.address}:")
        before, slashes, host, after = re.fullmatch(r"(.*?)(?:(//)([^:/]+)(.*))?", word).groups()
        return [f"{before}//{it}{after}" for it in self.names.get(host, [host])] if slashes else [word]

    def environment(self):
        return {"TT_GATEWAY_GATEWAY_ID": self.pod}

    def executable(self, path):
        return str(binary(path.removeprefix("/")))


@dataclasses.dataclass(frozen=True)
class Probe:
    """One probe of a container; what the manifest leaves out is as Kubernetes has it."""

    kind: str
    grpc: dict | None
    http: dict | None
    delay: float
    period: float
    timeout: float
    failures: int
    grace: float | None

    @classmethod
    def read(cls, kind, manifest):
        known = {"grpc", "httpGet", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"}
        known.add("terminationGracePeriodSeconds")
        assert set(manifest) <= known, f"{kind} probe: {set(manifest) - known} is not played"
        return cls(
            kind=kind,
            grpc=manifest.get("grpc"),
            http=manifest.get("httpGet"),
            delay=manifest.get("initialDelaySeconds", 0),
            period=manifest.get("periodSeconds", 10),
            timeout=manifest.get("timeoutSeconds", 1),
            failures=manifest.get("failureThreshold", 3),
            grace=manifest.get("terminationGracePeriodSeconds"),
        )


@dataclasses.dataclass(frozen=True)
class PodManifest:
    """A pod with one container."""

    labels: dict
    image: str
    command: list
    env: list
    ports: dict
    # Volumes by where they are mounted.
    mounts: dict
    account: str
    probes: dict
    pre_stop: float
    grace: float

    @classmethod
    def of(cls, template):
        spec = template["spec"]
        [container] = spec["containers"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        return cls(
            labels=template["metadata"]["labels"],
            image=container["image"],
            command=container["command"] + container.get("args", []),
            env=container.get("env", []),
            ports={port["name"]: port["containerPort"] for port in container["ports"]},
            mounts={it["mountPath"]: volumes[it["name"]] for it in container.get("volumeMounts", [])},
            account=spec["serviceAccountName"],
            probes={kind: Probe.read(kind, container[f"{kind}Probe"]) for kind in ("startup", "liveness", "readiness")},
            pre_stop=container["lifecycle"]["preStop"]["sleep"]["seconds"],
            grace=spec["terminationGracePeriodSeconds"],
        )

    def process(self, here):
        """The command line and the environment of its container."""
        environment = {entry["name"]: self._value(entry, here) for entry in self.env}
        words = [expanded(word, environment) for word in self.command]
        words += server_names(words)
        command = [here.executable(words[0])] + [argument for word in words[1:] for argument in here.arguments(word)]
        return command, {**here.environment(), **environment}

    def _value(self, entry, here):
        if "value" in entry:
            return entry["value"]
        return {"status.podIP": here.address, "metadata.name": here.pod}[entry["valueFrom"]["fieldRef"]["fieldPath"]]


def expanded(word, environment):
    """`$(NAME)` as the kubelet reads it: a variable of the container, or nothing special."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), word)


def documents(text):
    """The objects of a stream of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]
