"""Disruption budgets, as the API judges an eviction by them."""

import math


class Budget:
    """How many pods may be evicted."""

    def __init__(self, manifest, cluster):
        self.spec = manifest["spec"]
        self._cluster = cluster

    def admits(self, pod):
        """Whether this pod may be evicted now."""
        if not self._concerns(pod):
            return True
        healthy = sum(it.is_ready for it in self._pods())
        least = max(self._expected() - self._most(), 0)
        if not pod.is_ready:
            if self.spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
                return True
            if healthy >= least > 0:
                return True
        return healthy - 1 >= least

    def _concerns(self, pod):
        return self.spec["selector"]["matchLabels"].items() <= pod.manifest.labels.items()

    def _pods(self):
        return [pod for pod in self._cluster.pods if self._concerns(pod) and not pod.terminating]

    def _expected(self):
        return sum(
            it.replicas for it in self._cluster.deployments.values() if self._concerns(it)
        )

    def _most(self):
        most = self.spec["maxUnavailable"]
        if isinstance(most, str):
            return math.ceil(self._expected() * int(most.removesuffix("%")) / 100)
        return most
