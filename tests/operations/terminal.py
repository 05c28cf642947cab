"""A command in a real terminal, and what stands on it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time

import pyte
from msgservers import PATIENCE

POLL = 0.02


class Terminal:
    """A command that runs in a terminal of `columns` and `lines`."""

    def __init__(self, command, columns, lines, **environment):
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        ours, theirs = pty.openpty()
        self._ours = ours
        self._set_size(lines, columns)
        given = {name: value for name, value in os.environ.items() if not name.startswith("TT_") and name != "NO_COLOR"}
        given |= {"TERM": "xterm-256color", "TZ": "UTC"} | environment
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=given,
            start_new_session=True,
            # It has this terminal, so it hears of a new size.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

        def read():
            while True:
                try:
                    data = os.read(ours, 65536)
                except OSError:
                    return
                if not data:
                    return
                with self._lock:
                    self.raw += data
                    stream.feed(data)

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def _set_size(self, lines, columns):
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        with self._lock:
            self.screen.resize(lines, columns)
        self._set_size(lines, columns)

    def press(self, keys):
        os.write(self._ours, keys.encode())

    def lines(self):
        """What stands on it, without blanks at the ends of lines."""
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def wait_for(self, matches, what):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if matches(lines := self.lines()):
                return lines
            time.sleep(POLL)
        raise AssertionError(f"not shown: {what}\n" + "\n".join(self.lines()))

    def shows(self, text):
        """Waits until it stands there."""
        return self.wait_for(lambda lines: any(text in line for line in lines), text)

    def end(self):
        """Waits for the end of the command; all that it has shown has been read then."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
