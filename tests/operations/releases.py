"""Releases of the chart: rendered by helm, installed on the played kubelet."""

import contextlib

from chart import CHART, template, upgrade, words
from kubelet.cluster import Cluster
from kubelet.manifest import documents


def rendered(*settings, values=None):
    """The manifests for a file of values, and settings such as `mode=embedded`."""
    result = template(*given(settings, values))
    assert result.returncode == 0, result.stderr
    return documents(result.stdout)


def given(settings, values=None):
    """The words of helm's command line."""
    if values:
        return ["--values", values, *(word for setting in settings for word in ("--set", setting))]
    return words(settings)


def upgraded(cluster, *settings, values=None):
    """The manifests with which `helm upgrade` would change a release that runs."""
    result = upgrade(cluster.live(), *given(settings, values))
    assert result.returncode == 0, result.stderr
    return documents(result.stdout)


def refused(cluster, *settings):
    """Why `helm upgrade` refuses to change a release that runs."""
    result = upgrade(cluster.live(), *given(settings))
    assert result.returncode != 0, "it is not refused"
    return result.stderr


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
