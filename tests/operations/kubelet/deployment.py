"""Deployments as their controllers keep them: by sets of pods, one for each template.

As the controllers do it: **a change of the number is carried out first**, by the set that is there, so that a Deployment
of which template and number change makes more pods of the old template, or fewer, before it replaces them. `Recreate`
waits until every old pod is gone. A roll makes the new pods that `maxSurge` allows, and ends old ones, those that are not
ready first, while the others have been ready for `minReadySeconds`.
"""

import copy
import itertools
import threading
import time

from .journal import PATIENCE
from .manifest import Here, PodManifest
from .pod import Pod

# Between two looks, if nothing happens: `minReadySeconds` pass without an event.
LOOK = 0.1
# Addresses of a component's pods begin here. Names lead to the first, or to as many as there are nodes at a time.
SLOTS = {"route-grpc": 1, "pdu-gateway": 10, "embedded": 100}


class Deployment:
    """Keeps so many pods, and replaces them by its strategy when their template changes."""

    def __init__(self, manifest, cluster):
        self.name = manifest["metadata"]["name"]
        self.component = manifest["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        self.first_slot = SLOTS[self.component]
        self.named_slots = range(self.first_slot, self.first_slot + (cluster.nodes if self.component == "route-grpc" else 1))
        self.sets = []
        self._cluster = cluster
        self._numbers = itertools.count()
        self._restarts = 0
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._control, name=self.name, daemon=True)
        self.spec = copy.deepcopy(manifest["spec"])
        self.spec.setdefault("replicas", 1)

    def start(self):
        self._reconcile()
        self._thread.start()

    @property
    def manifest(self):
        return PodManifest.of(self.spec["template"])

    @property
    def replicas(self):
        return self.spec["replicas"]

    @property
    def pods(self):
        """All that are or were there."""
        return [pod for it in list(self.sets) for pod in list(it.pods)]

    @property
    def current(self):
        """Pods that are not on their way out."""
        return [pod for pod in self.pods if not pod.terminating]

    def wait_until_ready(self):
        """Until the pods of the present template are all there is, and are ready."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert time.monotonic() < deadline, f"{self.name} was never ready:\n{self._cluster.journal}"
            self._cluster.journal.wait_for_news(LOOK)

    def _is_ready(self):
        with self._lock:
            new = self._newest()
            ready = [pod for pod in new.active if pod.is_ready] if new else None
            return ready is not None and self.current == new.active and len(ready) == self.replicas

    def scale(self, replicas):
        """As `kubectl scale` does, or an autoscaler."""
        with self._lock:
            self.spec["replicas"] = replicas
            self._reconcile()

    def replace(self):
        """As `kubectl rollout restart` does; returns the old pods, once they are gone."""
        with self._lock:
            old = self.current
            self._restarts += 1
            annotations = self.spec["template"]["metadata"].setdefault("annotations", {})
            annotations["kubectl.kubernetes.io/restartedAt"] = str(self._restarts)
            self._reconcile()
        for pod in old:
            self._cluster.journal.wait("gone", pod.name)
        self.wait_until_ready()
        return old

    def change(self, before, after):
        """Patches it as helm does: what the release's manifest before had and the one after has not is taken away, what the
        latter has is set, everything else stays."""
        with self._lock:
            spec = copy.deepcopy(after["spec"])
            if "replicas" not in spec:
                # Taken away, so that Kubernetes' default is there; or never ours.
                spec["replicas"] = 1 if "replicas" in before["spec"] else self.replicas
            assert spec["selector"] == self.spec["selector"], f"{self.name}: selector: field is immutable"
            self.spec = spec
            self._reconcile()

    def delete(self):
        """Its pods go with it."""
        self.stop()
        for pod in self.current:
            pod.delete()

    def stop(self):
        """Nobody looks after its pods any more."""
        with self._lock:
            self._stopped.set()

    def _control(self):
        while not self._stopped.is_set():
            self._cluster.journal.wait_for_news(LOOK)
            self._reconcile()

    def _reconcile(self):
        with self._lock:
            if self._stopped.is_set():
                return
            if self._is_scaled():
                self._scale_what_is_there()
            elif self.spec["strategy"]["type"] == "Recreate":
                self._recreate()
            else:
                self._roll()
            for it in self.sets:
                it.reconcile(self._create)

    def _newest(self):
        """The set of the present template, if it has been made."""
        return next((it for it in self.sets if it.template == self.spec["template"]), None)

    def _is_scaled(self):
        return any(it.replicas > 0 and it.desired != self.replicas for it in self.sets)

    def _scale_what_is_there(self):
        active = [it for it in self.sets if it.replicas > 0]
        assert len(active) == 1, "scaling in the midst of a roll is not played"
        active[0].replicas = active[0].desired = self.replicas

    def _recreate(self):
        new = self._newest()
        old = [it for it in self.sets if it is not new]
        for it in old:
            it.replicas = 0
        if all(pod.is_gone for it in old for pod in it.pods):
            self._new_set().replicas = self.replicas

    def _roll(self):
        assert self.spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}, self.spec["strategy"]
        new = self._new_set()
        total = sum(it.replicas for it in self.sets)
        if total < self.replicas + 1 and new.replicas < self.replicas:
            new.replicas += min(self.replicas + 1 - total, self.replicas - new.replicas)
            return
        old = [it for it in self.sets if it is not new and it.replicas > 0]
        not_there_yet = new.replicas - self._available(new)
        may_go = sum(len(it.active) for it in self.sets) - self.replicas - not_there_yet
        for it in old:
            unhealthy = min(max(may_go, 0), it.replicas - self._available(it))
            it.replicas -= unhealthy
            may_go -= unhealthy
        spare = sum(map(self._available, self.sets)) - self.replicas
        for it in old:
            ended = min(max(spare, 0), it.replicas)
            it.replicas -= ended
            spare -= ended

    def _new_set(self):
        if self._newest() is None:
            self.sets.append(PodSet(copy.deepcopy(self.spec["template"]), self.replicas))
        self._newest().desired = self.replicas
        return self._newest()

    def _available(self, pods):
        since = time.monotonic() - self.spec.get("minReadySeconds", 0)
        return sum(pod.ready_since is not None and pod.ready_since <= since for pod in pods.active)

    def _create(self, template):
        number = next(self._numbers)
        slot = self._free_slot() if self.component == "route-grpc" else self.first_slot + number
        manifest = PodManifest.of(template)
        name = f"{self.name}-{number}"
        mounts = self._cluster.volumes.mount(name, manifest)
        here = Here(name, self._cluster.address(slot), self._cluster.names(), mounts)
        room = self._cluster.room_for(self.component, manifest)
        return Pod(here.pod, manifest, here, self._cluster.journal, self._cluster.folder, room)

    def _free_slot(self):
        """Of the addresses that the nodes' name leads to, the first that no pod has. If it is one, they share it."""
        if len(self.named_slots) == 1:
            return self.first_slot
        taken = {pod.address for pod in self.pods if not pod.is_gone}
        return next(slot for slot in self.named_slots if self._cluster.address(slot) not in taken)


class PodSet:
    """Keeps so many pods of one template."""

    def __init__(self, template, desired):
        self.template = template
        self.replicas = 0
        # Of the Deployment, when this set was last scaled for it.
        self.desired = desired
        self.pods = []

    @property
    def active(self):
        return [pod for pod in self.pods if not pod.terminating]

    def reconcile(self, create):
        """Those that are not ready go first, then those that have been for the shortest time."""
        while len(self.active) < self.replicas:
            self.pods.append(create(self.template))
        surplus = len(self.active) - self.replicas
        in_order = sorted(self.active, key=lambda pod: -(pod.ready_since or float("inf")))
        for pod in in_order[: max(surplus, 0)]:
            pod.delete()
