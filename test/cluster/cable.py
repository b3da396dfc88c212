# SPDX-License-Identifier: BSD-3-Clause
"""A cable to a cluster that can be cut: a proxy of this process, on TCP and on a Unix socket."""

import json
import os
import selectors
import socket
import threading


class Cable:
    """`file` is a connection file that leads through it, in `folder`."""

    def __init__(self, file, folder):
        with open(file, encoding="utf-8") as opened:
            connection = json.load(opened)
        host, _, port = connection["url"].removeprefix("tcp://").rpartition(":")
        self._ends = {}  # each connected socket, and the one that it is passed on to
        self._far = set()  # of these, those to the cluster
        self._silent = []  # connections that get no answer
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._is_over = self._is_dead = False
        self.count = 0  # connections so far
        tcp = socket.create_server(("127.0.0.1", 0))
        unix = socket.socket(socket.AF_UNIX)
        path = os.path.join(folder, "cable")
        unix.bind(path)
        unix.listen()
        self._listeners = (tcp, unix)
        self._selector.register(tcp, selectors.EVENT_READ,
                                lambda: socket.create_connection((host.strip("[]"), int(port))))
        self._selector.register(unix, selectors.EVENT_READ,
                                lambda: self._connect_unix(connection["unix"]))
        self.file = os.path.join(folder, "cable.json")
        with open(os.open(self.file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as opened:
            json.dump(connection | {"url": f"tcp://127.0.0.1:{tcp.getsockname()[1]}", "unix": path},
                      opened)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @staticmethod
    def _connect_unix(path):
        end = socket.socket(socket.AF_UNIX)
        end.connect(path)
        return end

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.cut()
        self._is_over = True
        self._rope.send(b"x")
        self._thread.join()
        for listener in (*self._listeners, *self._silent):
            listener.close()
        os.unlink(os.path.join(os.path.dirname(self.file), "cable"))

    def cut(self, is_final=False):
        """Ends every connection; new ones work, unless it is final: then nobody answers."""
        with self._lock:
            self._is_dead |= is_final
            for end in list(self._ends):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def half_close(self):
        """The cluster sees the end of every connection; what it still says arrives."""
        with self._lock:
            for end in self._far:
                try:
                    end.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    def _drop(self, end):
        other = self._ends.pop(end, None)
        if other is None:
            return
        self._ends.pop(other, None)
        for one in (end, other):
            self._selector.unregister(one)
            self._far.discard(one)
            one.close()

    def _take_in(self, listener, connect):
        near = listener.accept()[0]
        if self._is_dead:
            self._silent.append(near)
            return
        try:
            far = connect()
        except OSError:
            near.close()
            return
        self.count += 1
        self._far.add(far)
        for one, other in ((near, far), (far, near)):
            self._ends[one] = other
            self._selector.register(one, selectors.EVENT_READ, None)

    def _pass_on(self, end):
        other = self._ends.get(end)
        if other is None:
            return
        try:
            data = end.recv(65536)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(end)

    def _run(self):
        while not self._is_over:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.data:
                        self._take_in(key.fileobj, key.data)
                    elif key.fileobj is not self._bell:
                        self._pass_on(key.fileobj)
