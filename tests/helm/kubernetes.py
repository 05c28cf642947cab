"""As much of the Kubernetes API as `helm install` and `helm test` use: objects are kept, pods run to their end at once."""

import base64
import contextlib
import http.server
import json
import threading
import urllib.parse

MISSING = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
# Before a message.
PROTOBUF = b"k8s\0"
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
# What it takes for helm to leave the validation of what it sends to us.
OPENAPI = {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}
VALIDATION = {
    "openapi": "3.0.0",
    "info": {"title": "Kubernetes", "version": "v1.36.0"},
    "paths": {
        "/api/v1/namespaces/{namespace}/pods/{name}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": {"group": "", "kind": "Pod", "version": "v1"},
            }
        }
    },
}


@contextlib.contextmanager
def played(objects, run):
    """The played API, which knows the kinds of these objects. `run` plays a pod: it returns its exit code and its log."""
    api = Api(objects, run)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            url = urllib.parse.urlsplit(self.path)
            code, answer = api.handle(self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), sent)
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """Helm hangs up when it has seen enough."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield api
        finally:
            server.shutdown()


class Api:
    def __init__(self, objects, run):
        self.address = None
        self._run = run
        self._lock = threading.Lock()
        # By path.
        self._objects = {}
        self._logs = {}
        kinds = {(it["apiVersion"], it["kind"]) for it in objects} | {("v1", "Pod"), ("v1", "Secret")}
        self._kinds = {}
        for version, kind in kinds:
            self._kinds.setdefault(version, []).append(kind)

    def pods(self):
        """The names of those that are there."""
        with self._lock:
            return [path.rsplit("/", 1)[1] for path in self._objects if "/pods/" in path]

    def handle(self, method, path, query, sent):
        """The code and what is answered."""
        with self._lock:
            if page := self._discovery(path):
                return 200, page
            if method == "POST":
                return 201, self._create(path, read(sent))
            if path.endswith("/log"):
                return (200, self._logs[path]) if path in self._logs else (404, MISSING)
            if method == "DELETE":
                return (200, self._objects.pop(path)) if path in self._objects else (404, MISSING)
            if method == "PUT" and path in self._objects:
                self._objects[path] = read(sent)
            if path in self._objects:
                return 200, self._objects[path]
            if path.rsplit("/", 1)[1] not in {plural(kind) for kinds in self._kinds.values() for kind in kinds}:
                return 404, MISSING
            return 200, self._list(path, query)

    def _discovery(self, path):
        groups = {version.rpartition("/")[0]: version for version in self._kinds if "/" in version}
        if path == "/version":
            return VERSION
        if path.startswith("/openapi/v3"):
            return VALIDATION if path.endswith("/api/v1") else OPENAPI
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            versions = {group: {"groupVersion": it, "version": it.rpartition("/")[2]} for group, it in groups.items()}
            listed = [{"name": group, "versions": [it], "preferredVersion": it} for group, it in versions.items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version not in self._kinds:
            return None
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        resources = [
            {"name": plural(kind), "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": verbs}
            for kind in self._kinds[version]
        ]
        return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}

    def _create(self, path, it):
        it["metadata"] |= {"uid": str(len(self._objects)), "resourceVersion": "1"}
        path = f"{path}/{it['metadata']['name']}"
        if it["kind"] == "Pod":
            code, self._logs[f"{path}/log"] = self._run(it)
            it["status"] = {"phase": "Failed" if code else "Succeeded"}
        self._objects[path] = it
        return it

    def _list(self, path, query):
        """Of a folder, those that are selected; or, to who watches, those that there are."""
        labels = dict(word.split("=") for word in query.get("labelSelector", "").split(",") if word)
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        of_folder = [it for at, it in self._objects.items() if at.rsplit("/", 1)[0] == path]
        found = [
            it
            for it in of_folder
            if labels.items() <= it["metadata"].get("labels", {}).items() and name in ("", it["metadata"]["name"])
        ]
        if query.get("watch"):
            return "".join(json.dumps({"type": "ADDED", "object": it}) + "\n" for it in found)
        kind = found[0]["kind"] if found else "Pod"
        return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": found}


def read(sent):
    """An object, as JSON or, for helm sends its Secrets so, as protobuf."""
    if not sent.startswith(PROTOBUF):
        return json.loads(sent)
    [raw] = fields(sent.removeprefix(PROTOBUF))[2]
    secret = fields(raw)
    [metadata] = secret[1]
    metadata = fields(metadata)
    labels = pairs(metadata.get(11, []))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": metadata[1][0].decode(), "labels": {key: value.decode() for key, value in labels.items()}},
        "data": {key: base64.b64encode(value).decode() for key, value in pairs(secret[2]).items()},
        "type": secret[3][0].decode(),
    }


def pairs(entries):
    return {fields(it)[1][0].decode(): fields(it)[2][0] for it in entries}


def fields(message):
    """By number, what stands in the fields of a protobuf message that are numbers, texts or messages."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        value = varint()
        if kind == 2:
            at += value
            value = message[at - value : at]
        found.setdefault(number, []).append(value)
    return found


def plural(kind):
    kind = kind.lower()
    return kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + "s"
