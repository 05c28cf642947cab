"""Releases of the chart: rendered by helm, installed on the played kubelet."""

import contextlib

from chart import CHART, template
from kubelet.cluster import Cluster
from kubelet.manifest import documents


def rendered(*settings, values=None):
    """The manifests for a file of values, and settings such as `mode=embedded`."""
    files = ("--values", values) if values else ()
    result = template(*files, *(word for setting in settings for word in ("--set", setting)))
    assert result.returncode == 0, result.stderr
    return documents(result.stdout)


def scenario(name, *settings):
    """The manifests of a scenario of the chart."""
    return rendered(*settings, values=CHART / "ci" / f"{name}-values.yaml")


@contextlib.contextmanager
def installed(objects, folder):
    """A release of which all pods are ready."""
    with Cluster(objects, folder) as cluster:
        cluster.start()
        cluster.wait_until_ready()
        yield cluster
