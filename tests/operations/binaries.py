"""Where the binaries under test are."""

import os
import pathlib

from server import DEFAULT_FOLDER, FOLDER_VARIABLE


def binary(name):
    """The path of one, which has been built."""
    path = pathlib.Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER)) / name
    assert path.exists(), f"{path} is not built"
    return path
