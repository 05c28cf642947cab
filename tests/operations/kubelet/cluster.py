"""The Deployments and Services of a release at work."""

import itertools
import random
import socket

from .journal import Journal
from .manifest import Here, PodManifest
from .pod import Pod


class Cluster:
    """A release, from its rendered manifests to the end of its pods."""

    def __init__(self, objects, folder):
        self.journal = Journal()
        self.folder = folder
        self._network = f"127.{random.randrange(16, 250)}.{random.randrange(250)}"
        self.services = {
            it["metadata"]["name"]: Service(it, self) for it in objects if it["kind"] == "Service"
        }
        self.deployments = {
            it["metadata"]["labels"]["app.kubernetes.io/component"]: Deployment(it, self)
            for it in objects
            if it["kind"] == "Deployment"
        }

    def start(self):
        """Creates all pods, as `helm install` does."""
        for deployment in self.deployments.values():
            deployment.start()

    def wait_until_ready(self):
        """As `kubectl rollout status` does."""
        for deployment in self.deployments.values():
            deployment.wait_until_ready()

    def service(self, suffix):
        """The Service whose name ends so."""
        [found] = [it for name, it in self.services.items() if name.endswith(suffix)]
        return found

    @property
    def pods(self):
        """All that are or were there."""
        return [pod for deployment in self.deployments.values() for pod in deployment.pods]

    def address(self, slot):
        return f"{self._network}.{slot}"

    def names(self):
        """Where each Service's name leads: a headless one to its pod, of which there is one at a time."""
        return {
            name: self.address(deployment.first_slot)
            for name, service in self.services.items()
            for deployment in self.deployments.values()
            if service.selects(deployment.manifest.labels)
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pod in self.pods:
            pod.destroy()
        # A failed test shows this.
        print(self.journal)
        for pod in self.pods:
            print(f"--- {pod.name}\n{pod.log()}")


class Deployment:
    """Keeps so many pods, and replaces them by its strategy."""

    # Addresses of a component's pods begin here; the node's pods, of which names lead to one, share the first.
    SLOTS = {"route-grpc": 1, "pdu-gateway": 10}

    def __init__(self, manifest, cluster):
        self.name = manifest["metadata"]["name"]
        self.component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        self.manifest = PodManifest.of(manifest)
        self.first_slot = self.SLOTS[self.component]
        self.replicas = manifest["spec"].get("replicas", 1)
        self.pods = []
        self._strategy = manifest["spec"]["strategy"]
        self._cluster = cluster
        self._numbers = itertools.count()

    @property
    def current(self):
        """Pods that are not on their way out."""
        return [pod for pod in self.pods if not pod.terminating]

    def start(self):
        for _ in range(self.replicas):
            self._create()

    def wait_until_ready(self):
        journal = self._cluster.journal
        for pod in self.current:
            journal.wait_until(lambda: pod.is_ready, f"{pod.name} ready")

    def scale(self, replicas):
        """Creates or deletes pods; the oldest go."""
        while len(self.current) > replicas:
            self.current[0].delete()
        while len(self.current) < replicas:
            self._create()

    def replace(self):
        """Replaces all pods by new ones of the same manifest; returns the old ones, once they are gone."""
        old = self.current
        if self._strategy["type"] == "Recreate":
            for pod in old:
                pod.delete()
            self._wait_until_gone(old)
            self.start()
            self.wait_until_ready()
        else:
            assert self._strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}, self._strategy
            for pod in old:
                self._create()
                self.wait_until_ready()
                pod.delete()
            self._wait_until_gone(old)
        return old

    def _wait_until_gone(self, pods):
        for pod in pods:
            self._cluster.journal.wait("gone", pod.name)

    def _create(self):
        number = next(self._numbers)
        slot = self.first_slot if self.component == "route-grpc" else self.first_slot + number
        here = Here(f"{self.name}-{number}", self._cluster.address(slot), self._cluster.names())
        self.pods.append(Pod(here.pod, self.manifest, here, self._cluster.journal, self._cluster.folder))


class Service:
    """Sends a new connection to one of its pods that is ready, as kube-proxy does: the client's address is kept."""

    def __init__(self, manifest, cluster):
        self._spec = manifest["spec"]
        self._cluster = cluster

    def selects(self, labels):
        return self._spec["selector"].items() <= labels.items()

    def endpoints(self):
        """(address, port) of each pod that gets new connections: those that end do so only if there is no other."""
        pods = [pod for pod in self._cluster.pods if self.selects(pod.manifest.labels) and pod.is_ready]
        lasting = [pod for pod in pods if not pod.terminating]
        [port] = self._spec["ports"]
        return [(pod.address, pod.manifest.ports[port["targetPort"]]) for pod in lasting or pods]

    def endpoint(self):
        """Where a new connection goes."""
        endpoints = self.endpoints()
        if not endpoints:
            raise ConnectionRefusedError("the Service has no endpoint")
        return random.choice(endpoints)

    def connect(self, source, timeout):
        """A new connection from an address."""
        return socket.create_connection(self.endpoint(), timeout, source_address=(source, 0))
