# SPDX-License-Identifier: BSD-3-Clause
"""sys.stdout and sys.stderr of an engine: text goes to C, and from there to the client."""

import io
import sys

import pcluster_engine


class _Bytes(io.BufferedIOBase):
    """The `buffer` of a stream: takes bytes."""

    mode = "wb"

    def __init__(self, descriptor, name):
        self._descriptor = descriptor
        self.name = name
        self.raw = self

    def write(self, data):
        """Puts bytes out."""
        return pcluster_engine.write_bytes(self._descriptor, data)

    def flush(self):
        """Sends what has been written."""
        pcluster_engine.flush(self._descriptor)

    def close(self):
        """Nothing: the stream lives as long as the engine."""

    def fileno(self):
        """The descriptor that subprocesses write to."""
        return self._descriptor

    def writable(self):
        """True."""
        return True


class Stream(io.TextIOBase):
    """A text stream. Characters that UTF-8 can't express are written as escapes."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False
    mode = "w"

    def __init__(self, descriptor, name):
        self._descriptor = descriptor
        self.name = name
        self.buffer = _Bytes(descriptor, name)
        # Straight to C: print() finds it here before it looks at the class.
        self.write = pcluster_engine.writer(descriptor)

    def flush(self):
        """Sends what has been written."""
        pcluster_engine.flush(self._descriptor)

    def close(self):
        """Nothing: the stream lives as long as the engine."""

    def fileno(self):
        """The descriptor that subprocesses write to."""
        return self._descriptor

    def isatty(self):
        """False."""
        return False

    def writable(self):
        """True."""
        return True

    def reconfigure(self, **_settings):
        """Nothing: there is one way to write here."""


def install():
    """Replaces the streams of this process. Call once, in the engine."""
    sys.stdout = sys.__stdout__ = Stream(1, "<stdout>")
    sys.stderr = sys.__stderr__ = Stream(2, "<stderr>")
