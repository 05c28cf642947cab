"""Volumes, as the kubelet writes them: each file is a link into `..data`, which is a link to a folder. What changes is
written into a new folder, and `..data` is swapped as one step."""

import itertools
import os
import shutil

from provided import Provided, source_of


class Volumes:
    """What the pods of a release mount."""

    def __init__(self, objects, folder):
        self.provided = Provided(objects, folder)
        self._folder = folder
        self._numbers = itertools.count()
        # (volume, service account, folder) of each that was mounted.
        self._mounted = []

    def mount(self, pod, manifest):
        """A pod's folders by their paths in its container."""
        folders = {}
        for path, volume in manifest.mounts.items():
            folder = self._folder / "volumes" / pod / volume["name"]
            folder.mkdir(parents=True)
            self._mounted.append((volume, manifest.account, folder))
            self._write(volume, manifest.account, folder)
            folders[path] = folder
        return folders

    def change(self, kind, name, files):
        """A ConfigMap or a Secret has something else in it now, and every kubelet has seen it."""
        self.provided.set(kind, name, files)
        for volume, account, folder in self._mounted:
            if "projected" not in volume and source_of(volume) == (kind, name):
                self._write(volume, account, folder)

    def renew_tokens(self):
        """As the kubelet does before they expire."""
        for volume, account, folder in self._mounted:
            if "projected" in volume:
                self._write(volume, account, folder)

    def _write(self, volume, account, folder):
        new = folder / f"..{next(self._numbers)}"
        new.mkdir()
        for name, text in self.provided.files(volume, account).items():
            (new / name).write_text(text)
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        data, swapped = folder / "..data", folder / "..data_tmp"
        old = data.resolve() if data.is_symlink() else None
        swapped.symlink_to(new.name)
        os.replace(swapped, data)
        if old:
            shutil.rmtree(old)
