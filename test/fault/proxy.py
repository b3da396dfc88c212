# SPDX-License-Identifier: BSD-3-Clause
"""A wire that can be cut: a TCP port that passes everything on to another one, until told otherwise."""

import contextlib
import socket
import threading

CHUNK = 1 << 18


class Proxy:
    """Passes connections to `address` on until close(). Methods may be called from any thread.

    A thread per direction: one that does not read holds up nobody but its own partner.
    """

    def __init__(self, address):
        self.address = address
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = set()  # (client's end, cluster's end)
        self.flows = threading.Event()
        self.flows.set()
        self.threads = []
        self._start(self._accept)

    def cut(self):
        """Every connection ends, in both directions; what is under way is lost."""
        with self.lock:
            for near, far in self.pairs:
                for end in (near, far):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def half_close(self):
        """The cluster sees the end of every connection; what it still says arrives."""
        with self.lock:
            for _, far in self.pairs:
                with contextlib.suppress(OSError):
                    far.shutdown(socket.SHUT_WR)

    def hold(self):
        """Nothing passes until flow(); nobody is told."""
        self.flows.clear()

    def flow(self):
        """Everything passes again."""
        self.flows.set()

    def close(self):
        """Ends every connection; new ones are refused."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.flow()
        self.cut()
        for thread in self.threads:
            thread.join()

    def _start(self, *call):
        thread = threading.Thread(target=call[0], args=call[1:], daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(self.address)
            except OSError:
                near.close()
                continue
            pair = near, far
            for end in pair:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.add(pair)
            self._start(self._serve, pair)

    def _serve(self, pair):
        near, far = pair
        back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
        back.start()
        self._pass_on(near, far)
        back.join()
        with self.lock:
            self.pairs.discard(pair)
        near.close()
        far.close()

    def _pass_on(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self.flows.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
