"""The image of the Dockerfile: made by buildah from binaries that cargo has built as the Dockerfile says, run by runc.

Nothing is pulled: the build stage, whose base image is elsewhere, is replaced by a folder. Needs root, and what
tests/helm/run installs.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import threading

from chart import ROOT

DOCKERFILE = ROOT / "Dockerfile"
WORK = ROOT / ".cache/image"
TAG = "localhost/teamtalk-route:test"

# Longer than any step here needs but the first build, so that only a hang meets it.
PATIENCE = 60


@functools.cache
def build_obstacle():
    """Why images cannot be built on this machine, or None."""
    if obstacle := missing("buildah", "cargo", "rustup"):
        return obstacle
    added = subprocess.run(["rustup", "target", "add", target()], capture_output=True, text=True, cwd=ROOT)
    if added.returncode != 0:
        return f"rustup cannot get {target()}: {added.stderr.strip()}"
    return None


@functools.cache
def run_obstacle():
    """Why runc cannot run this machine's own /bin/true, or None: then a failure is the image's."""
    if obstacle := missing("runc"):
        return obstacle
    files = WORK / "trial"
    shutil.rmtree(files, ignore_errors=True)
    libraries = re.findall(r"/\S+", subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True).stdout)
    for path in ["/bin/true", *libraries]:
        (files / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, files / path[1:])
    with bundle(files, ["/bin/true"], "trial") as start:
        trial = start(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = trial.communicate(timeout=PATIENCE)[0].decode()
        return None if trial.returncode == 0 else f"runc cannot run anything here: {said.strip()}"


def missing(*names):
    if os.geteuid() != 0:
        return "buildah and runc need root here"
    absent = [name for name in names if shutil.which(name) is None]
    return f"{', '.join(absent)} not installed" if absent else None


# Building


def target():
    [default] = re.findall(r"^ARG TARGET=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return default


def settings():
    """The build stage's environment, with this checkout in place of its folders."""
    [block] = re.findall(r"^ENV (.*?[^\\])$", DOCKERFILE.read_text(), re.MULTILINE | re.DOTALL)
    pairs = dict(word.split("=", 1) for word in shlex.split(block.replace("\\\n", " ")))
    pairs["CARGO_TARGET_DIR"] = str(WORK / "target")
    pairs["RUSTFLAGS"] = pairs["RUSTFLAGS"].replace("/build=", f"{ROOT}=")
    # Sources of crates are where they are already.
    del pairs["CARGO_HOME"]
    return pairs


@functools.cache
def binaries():
    """A folder that stands for the build stage, with what its own cargo command has built."""
    [tool] = re.findall(r"^(?:RUN| *&&) (cargo install .*)$", DOCKERFILE.read_text(), re.MULTILINE)
    subprocess.run(shlex.split(tool), check=True)
    [command] = re.findall(r"^RUN (cargo auditable build .*?) *\\$", DOCKERFILE.read_text(), re.MULTILINE)
    words = [target() if word == "$TARGET" else word for word in shlex.split(command)]
    subprocess.run(words, cwd=ROOT, env={**os.environ, **settings()}, check=True)
    stage = WORK / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "build/image").mkdir(parents=True)
    for name in ("route-grpc", "pdu-gateway"):
        built = WORK / "target" / target() / "release" / name
        subprocess.run(["install", built, stage / "build/image"], check=True)
    return stage


class Builder:
    """buildah with a store of its own."""

    def __init__(self, store):
        self.store = store

    def run(self, *words):
        command = ["buildah", "--storage-driver=vfs", f"--root={self.store}/root", f"--runroot={self.store}/run", *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def build(self, stage, timestamp):
        """Builds the Dockerfile, its build stage replaced by a folder; returns the digest of the manifest."""
        given = [f"--build-context=build={stage}", f"--timestamp={timestamp}", f"--tag={TAG}", f"--file={DOCKERFILE}"]
        self.run("build", "--isolation=chroot", "--quiet", *given, stage)
        layout = self.store / "layout"
        self.run("push", "--quiet", TAG, f"oci:{layout}:test")
        [manifest] = json.loads((layout / "index.json").read_text())["manifests"]
        return manifest["digest"]

    def config(self):
        return json.loads(self.run("inspect", "--type=image", TAG))["OCIv1"]["config"]

    @contextlib.contextmanager
    def mounted(self):
        """The image's files, in a folder of their own."""
        name = self.run("from", "--pull-never", TAG)
        try:
            yield pathlib.Path(self.run("mount", name))
        finally:
            self.run("umount", name)
            self.run("rm", name)


# Running


class Container:
    """A process that runc has started from an image."""

    def __init__(self, name, process):
        self.name = name
        self.process = process

    def execute(self, *words):
        """Runs one more process in it."""
        return subprocess.run(
            [*runc(), "exec", self.name, *words], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )

    def status(self):
        """The kernel's words on its first process."""
        state = json.loads(subprocess.run([*runc(), "state", self.name], capture_output=True, check=True).stdout)
        lines = pathlib.Path(f"/proc/{state['pid']}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def end(self):
        """SIGTERM, and the exit code."""
        subprocess.run([*runc(), "kill", self.name, "TERM"], check=True)
        return self.process.wait(timeout=PATIENCE)


@contextlib.contextmanager
def started(files, arguments, user):
    """A container as the chart would have it: read-only, no capabilities, a network of its own. Killed at the end."""
    name = f"teamtalk-route-{os.getpid()}"
    with bundle(files, arguments, name, user) as start:
        # Lines are read one by one, and kept.
        process = start(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        kill = functools.partial(subprocess.run, [*runc(), "kill", name, "KILL"], capture_output=True)
        # Whoever reads its lines reads to their end then.
        hang = threading.Timer(PATIENCE, kill)
        hang.start()
        try:
            yield Container(name, process)
        finally:
            hang.cancel()
            kill()
            process.wait()


def runc():
    return ["runc", f"--root={WORK}/runc"]


@contextlib.contextmanager
def bundle(files, arguments, name, user="65532:65532"):
    """What runc starts from; yields a function that starts it."""
    folder = WORK / "bundles" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    spec = json.loads((folder / "config.json").read_text())
    uid, gid = map(int, user.split(":"))
    spec["process"] |= {
        "terminal": False,
        "args": arguments,
        "user": {"uid": uid, "gid": gid},
        "capabilities": {},
        "noNewPrivileges": True,
        "env": [],
    }
    # Nothing here looks at control groups, and not every machine has those of runc's default.
    spec["mounts"] = [it for it in spec["mounts"] if it["type"] != "cgroup"]
    spec["linux"]["namespaces"] = [it for it in spec["linux"]["namespaces"] if it["type"] != "cgroup"]
    spec["root"] = {"path": str(files), "readonly": True}
    (folder / "config.json").write_text(json.dumps(spec))
    try:
        yield functools.partial(
            subprocess.Popen,
            [*runc(), "run", f"--bundle={folder}", name],
            stdin=subprocess.DEVNULL,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
        )
    finally:
        subprocess.run([*runc(), "delete", "--force", name], capture_output=True)
        shutil.rmtree(folder)
