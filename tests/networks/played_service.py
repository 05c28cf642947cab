"""The program that plays a new service on its host: for each line, a list of users in JSON, it writes which of them the
node calls online, or null if it does not answer."""

import json
import sys

import grpc
from teamtalk.route.v1 import presence_pb2, presence_pb2_grpc

LIMIT = 5


def main():
    with grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)]) as channel:
        presence = presence_pb2_grpc.PresenceServiceStub(channel)
        for line in sys.stdin:
            online = [user for user in json.loads(line) if is_online(presence, user)]
            print(json.dumps(online), flush=True)


def is_online(presence, user):
    answer = presence.GetUserStatus(presence_pb2.GetUserStatusRequest(user_id=user), timeout=LIMIT)
    return answer.user.status == presence_pb2.PRESENCE_STATUS_ONLINE


if __name__ == "__main__":
    main()
