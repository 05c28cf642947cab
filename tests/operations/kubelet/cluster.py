"""A release at work: its Deployments, Services and budgets."""

import random
import socket
import subprocess
import threading

from .budget import Budget
from .deployment import Deployment
from .journal import Journal
from .manifest import Here
from .volumes import Volumes


class UpgradeFailed(Exception):
    """A hook has failed, before anything was changed."""


class Cluster:
    """A release, from its rendered manifests to the end of its pods. `nodes`: how many addresses the name of the nodes
    leads to; a node has one of them."""

    def __init__(self, objects, folder, nodes=1):
        self.nodes = nodes
        self.journal = Journal()
        self.folder = folder
        # Components for which no machine has room.
        self.no_room = set()
        # Images that cannot be pulled.
        self.no_images = set()
        self.services = {}
        self.deployments = {}
        self._removed = []
        self._waiting = []
        self._network = f"127.{random.randrange(16, 250)}.{random.randrange(250)}"
        self.volumes = Volumes(objects, folder)
        self._take(objects)
        for manifest in of_kind(objects, "Deployment"):
            self._add(manifest)

    def start(self):
        """Creates all pods, as `helm install` does."""
        for deployment in self.deployments.values():
            deployment.start()

    def wait_until_ready(self):
        """As `kubectl rollout status` does."""
        for deployment in self.deployments.values():
            deployment.wait_until_ready()

    def upgrade(self, objects):
        """As `helm upgrade` does: hooks first; then everything is made or changed; what is no longer there goes last."""
        for hook in hooks(objects, "pre-upgrade"):
            self._run(hook)
        self.apply(objects)

    def apply(self, objects):
        """The same without hooks, as `helm rollback` does."""
        before = {it["metadata"]["name"]: it for it in of_kind(self._objects, "Deployment")}
        self._take(objects)
        wanted = {it["metadata"]["name"]: it for it in of_kind(objects, "Deployment")}
        # All names are known before the first pod asks for one.
        new = [self._add(wanted[name]) for name in wanted.keys() - before.keys()]
        for name in wanted.keys() & before.keys():
            self._named(name).change(before[name], wanted[name])
        for deployment in new:
            deployment.start()
        for name in before.keys() - wanted.keys():
            deployment = self._named(name)
            del self.deployments[deployment.component]
            self._removed.append(deployment)
            deployment.delete()

    def evict(self, pod):
        """As `kubectl drain` asks for it; whether the budgets have let it."""
        allowed = all(budget.admits(pod) for budget in self._budgets)
        if allowed:
            pod.delete()
        return allowed

    def make_room(self):
        """Every pod finds a machine now."""
        self.no_room.clear()
        for room in self._waiting:
            room.set()

    def room_for(self, component, manifest):
        """An event: the pod has a machine, which has its image."""
        room = threading.Event()
        if component not in self.no_room and manifest.image not in self.no_images:
            room.set()
        else:
            self._waiting.append(room)
        return room

    def live(self):
        """Its Deployments, as the API would give them."""
        return [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": it.name},
                "spec": it.spec,
                "status": {"replicas": len(it.current)},
            }
            for it in self.deployments.values()
        ]

    def service(self, suffix):
        """The Service whose name ends so."""
        [found] = [it for name, it in self.services.items() if name.endswith(suffix)]
        return found

    @property
    def pods(self):
        """All that are or were there."""
        return [pod for it in [*self.deployments.values(), *self._removed] for pod in it.pods]

    def address(self, slot):
        return f"{self._network}.{slot}"

    def names(self):
        """Where each Service's name leads: a headless one to its pods, whether they are there or not."""
        return {
            name: [self.address(slot) for slot in deployment.named_slots]
            for name, service in self.services.items()
            for deployment in self.deployments.values()
            if service.selects(deployment.manifest.labels)
        }

    def _take(self, objects):
        self._objects = objects
        for it in of_kind(objects, "ConfigMap"):
            self.volumes.change("ConfigMap", it["metadata"]["name"], it["data"])
        self._budgets = [Budget(it, self) for it in of_kind(objects, "PodDisruptionBudget")]
        specs = {it["metadata"]["name"]: it["spec"] for it in of_kind(objects, "Service")}
        self.services = {name: self.services.get(name) or Service(self) for name in specs}
        for name, spec in specs.items():
            self.services[name].spec = spec

    def _add(self, manifest):
        deployment = Deployment(manifest, self)
        self.deployments[deployment.component] = deployment
        return deployment

    def _named(self, name):
        [found] = [it for it in self.deployments.values() if it.name == name]
        return found

    def _run(self, job):
        """Runs a hook's Job to its end, which is its deadline if its image cannot be pulled."""
        assert job["kind"] == "Job" and job["spec"]["backoffLimit"] == 0, job
        [container] = job["spec"]["template"]["spec"]["containers"]
        if container["image"] in self.no_images:
            raise UpgradeFailed(f"job {job['metadata']['name']} failed: DeadlineExceeded")
        here = Here(job["metadata"]["name"], self.address(200), {})
        command = [here.executable(container["command"][0]), *container["command"][1:], *container.get("args", [])]
        if subprocess.run(command, env={}, capture_output=True, timeout=60).returncode != 0:
            raise UpgradeFailed(f"job {job['metadata']['name']} failed: BackoffLimitExceeded")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for deployment in self.deployments.values():
            deployment.stop()
        for pod in self.pods:
            pod.destroy()
        # A failed test shows this.
        print(self.journal)
        for pod in self.pods:
            print(f"--- {pod.name}\n{pod.log()}")


class Service:
    """Sends a new connection to one of its pods that is ready, as kube-proxy does: the client's address is kept."""

    def __init__(self, cluster):
        self.spec = {}
        self._cluster = cluster

    def selects(self, labels):
        return self.spec["selector"].items() <= labels.items()

    def pods(self):
        """Those that get new connections: those that end do so only if there is no other."""
        pods = [pod for pod in self._cluster.pods if self.selects(pod.manifest.labels) and pod.is_ready]
        return [pod for pod in pods if not pod.terminating] or pods

    def endpoints(self):
        """(address, port) of each of them."""
        [port] = self.spec["ports"]
        return [(pod.address, pod.manifest.ports[port["targetPort"]]) for pod in self.pods()]

    def endpoint(self):
        """Where a new connection goes."""
        endpoints = self.endpoints()
        if not endpoints:
            raise ConnectionRefusedError("the Service has no endpoint")
        return random.choice(endpoints)

    def connect(self, source, timeout):
        """A new connection from an address."""
        return socket.create_connection(self.endpoint(), timeout, source_address=(source, 0))


def of_kind(objects, kind):
    """Those of the release itself, without its hooks."""
    return [it for it in objects if it["kind"] == kind and not hooked(it)]


def hooks(objects, moment):
    return [it for it in objects if moment in hooked(it)]


def hooked(it):
    """The moments at which helm runs it, if it is a hook."""
    moments = it["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return moments.split(",") if moments else []
