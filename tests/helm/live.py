"""What a cluster has, for helm's `lookup`: as much of the Kubernetes API as that asks."""

import contextlib
import http.server
import json
import threading

GROUP = "/apis/apps/v1"
KINDS = {
    "kind": "APIResourceList",
    "groupVersion": "apps/v1",
    "resources": [{"name": "deployments", "namespaced": True, "kind": "Deployment", "verbs": ["get"]}],
}
MISSING = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


@contextlib.contextmanager
def api(deployments, namespace):
    """The address of an API that has these."""
    pages = {f"{GROUP}/namespaces/{namespace}/deployments/{it['metadata']['name']}": it for it in deployments}
    pages[GROUP] = KINDS

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path.split("?")[0])
            body = json.dumps(page or MISSING).encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
