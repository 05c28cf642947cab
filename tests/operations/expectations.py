"""What is expected of pods, read from the kubelet's journal."""


def assert_ended_well(cluster, pod):
    """It served through preStop, then ended by itself within the grace period."""
    journal, manifest = cluster.journal, pod.manifest
    [killing] = journal.of("killing", pod.name)
    [signalled] = journal.of("SIGTERM", pod.name)
    [exited] = journal.of("exited", pod.name)
    assert exited.detail == 0, f"{pod.name} exited with {exited.detail}"
    assert signalled.at - killing.at >= manifest.pre_stop, "it did not serve through preStop"
    assert exited.at - killing.at < manifest.grace
    assert journal.of("SIGKILL", pod.name) == []


def assert_probes_failed_in_their_windows_only(cluster):
    """A pod's probes may fail before it is ready for the first time and after its SIGTERM; a gateway's readiness also
    while there is no node to attach to."""
    journal = cluster.journal
    without_node = list(times_without_node(cluster))
    for failure in journal.of("probe failed"):
        born = [event.at for event in journal.of("ready", failure.pod)[:1]]
        dying = [event.at for event in journal.of("SIGTERM", failure.pod)]
        is_gateway_s_readiness = "pdu-gateway" in failure.pod and failure.detail.startswith("readiness")
        assert (
            not born
            or failure.at <= born[0]
            or any(failure.at >= at for at in dying)
            or (is_gateway_s_readiness and any(begin <= failure.at <= end for begin, end in without_node))
        ), f"{failure}\n{journal}"


def times_without_node(cluster):
    """From a node's SIGTERM until its successor is ready, which it is once the gateways have attached."""
    journal = cluster.journal
    ready = [event.at for event in journal.of("ready") if "route-grpc" in event.pod]
    for ended in journal.of("SIGTERM"):
        if "route-grpc" in ended.pod:
            yield ended.at, min((at for at in ready if at > ended.at), default=float("inf"))
