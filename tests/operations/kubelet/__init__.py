"""The parts of Kubernetes that a release meets, played: kubelet, Deployments, Services, disruption budgets; and helm.

They read rendered manifests and run the real binaries. `manifest.py` says what is different from a cluster.
"""
