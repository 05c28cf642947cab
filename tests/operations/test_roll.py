"""Rolling the gateways, as `helm upgrade` does, while MsgServers and subscribers are at work."""

from expectations import assert_ended_well, assert_probes_failed_in_their_windows_only
from knocker import Knocker
from releases import installed, scenario
from subscribers import Subscriber
from traffic import Traffic


def test_a_gateway_is_rolled_and_msgservers_reconnect_once(tmp_path, msgservers, followers):
    with installed(scenario("default"), tmp_path) as cluster:
        pdu, grpc = cluster.service("-pdu-gateway"), cluster.service("-route-grpc")
        at_work = msgservers(4, gateway=pdu.connect)
        followers.append(subscriber := Subscriber(grpc.endpoint))
        subscriber.wait(lambda: subscriber.marks, "subscribed")
        for it in at_work:
            it.wait_until_connected()
        [old] = cluster.deployments["pdu-gateway"].current

        with Traffic(at_work) as traffic, Knocker(old.address, old.manifest.ports["pdu"]) as knocker:
            traffic.wait_for_more()
            cluster.deployments["pdu-gateway"].replace()
            for it in at_work:
                it.wait(lambda: it.connects["gateway"] == 2, "connected again")
            traffic.wait_for_more()
            traffic.stop()
            traffic.wait_until_arrived()

        for it in at_work:
            assert (it.connects["gateway"], it.ends) == (2, [("gateway", "FIN")]), it.name
        # What is for a MsgServer waits until it is connected again.
        traffic.assert_each_message_came_once()
        subscriber.wait(lambda: subscriber.saw_the_last(traffic.sent), "given the last events")
        subscriber.assert_nothing_came_twice()
        assert subscriber.marks == ["subscribed"], "subscribers have to do with the node only"

        # No new connection was refused while a Service could still send one there.
        [out] = cluster.journal.of("out of endpoints", old.name)[:1]
        [signalled] = cluster.journal.of("SIGTERM", old.name)
        assert out.at < signalled.at < knocker.refused_at
        assert knocker.accepted_between(out.at, signalled.at) > 0
        assert_ended_well(cluster, old)
        assert_probes_failed_in_their_windows_only(cluster)


def test_of_several_gateways_each_moves_its_own_msgservers(tmp_path, msgservers):
    with installed(scenario("ha"), tmp_path) as cluster:
        gateways = cluster.deployments["pdu-gateway"]
        at_work = msgservers(6, gateway=cluster.service("-pdu-gateway").connect)
        for it in at_work:
            it.wait_until_connected()

        with Traffic(at_work) as traffic:
            traffic.wait_for_more(10)
            old = gateways.replace()
            for it in at_work:
                it.wait(lambda: it.connected and not is_left_on(it, old), "connected to a new gateway")
            traffic.wait_for_more(10)
            traffic.stop()
            traffic.wait_until_arrived()

        # A MsgServer may come to a gateway that is replaced next, but it is moved by none twice.
        for it in at_work:
            assert 1 <= len(it.ends) <= len(old), it.name
            assert {why for _, why in it.ends} == {"FIN"}, it.name
        traffic.assert_each_message_came_once()
        for pod in old:
            assert_ended_well(cluster, pod)
        assert_probes_failed_in_their_windows_only(cluster)


def is_left_on(msgserver, old):
    """Whether it is connected to a gateway that is no longer there."""
    return any(peer in {pod.address for pod in old} for peer in msgserver.peers)
