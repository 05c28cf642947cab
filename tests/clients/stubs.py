"""Python code from the .proto files alone, for as long as the tests run."""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

_folder = tempfile.TemporaryDirectory(prefix="route-stubs-")


def folder():
    """Where they are."""
    return _folder.name


def generate():
    """Makes the stubs of the API and of the legacy messages, and lets them be imported."""
    compile_all(ROOT / "proto", "teamtalk/route/v1/*.proto", grpc=True)
    compile_all(ROOT / "proto" / "legacy", "IM.*.proto", grpc=False)
    sys.path.insert(0, _folder.name)


def compile_all(include, pattern, grpc):
    files = sorted(str(file.relative_to(include)) for file in include.glob(pattern))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", f"--python_out={_folder.name}"]
    if grpc:
        command.append(f"--grpc_python_out={_folder.name}")
    subprocess.run(command + files, check=True, stdin=subprocess.DEVNULL)
