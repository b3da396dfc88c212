# SPDX-License-Identifier: BSD-3-Clause
"""A controller with make-believe engines, in threads of the test's own process.

It speaks the real protocol on a Unix socket, so the extension and the library below it are the
real ones; and it does what no real cluster does on request: hold results back, lose engines, hang
up in the middle of a message.
"""

import contextlib
import hashlib
import io
import json
import os
import pickle
import queue
import socket
import struct
import threading
import time
import traceback

HEADER = struct.Struct("<BBBBIQQIHH")
NO_ENGINE = 0xFFFFFFFF
HELLO, WELCOME, REFUSED, GOODBYE, ENGINES = 1, 2, 3, 4, 5
SUBMIT, RESULT, STREAM, RESULT_ACK, QUERY, REPLY, ABORT = 16, 18, 19, 20, 24, 25, 23
FUNCTION, FUNCTIONS_MAX = 30, 128
WINDOW = 13
APPLY, EXECUTE, PUSH, PULL, CLEAR = 1, 2, 3, 4, 5
OK, ERROR, FAILED = 1, 2, 3
INSTANCE = bytes(range(16))
PYTHON = "{}.{}".format(*__import__("sys").version_info[:2])


def frame(kind, body=b"", parts=(), session=0, sequence=0, engine=NO_ENGINE):
    """The bytes of one message."""
    head = HEADER.pack(ord("p"), 1, kind, 0, len(body), session, sequence, engine, len(parts), 0)
    sizes = b"".join(struct.pack("<Q", len(part)) for part in parts)
    return b"".join([head, sizes, body, *map(bytes, parts)])


class Task:
    """One task that was submitted."""

    def __init__(self, connection, kind, flags, engine, sequence, parts, label):
        self.connection = connection
        self.kind = kind
        self.flags = flags
        self.engine = engine
        self.sequence = sequence
        self.parts = parts
        self.label = label
        self.submitted = time.time_ns() // 1000


class Connection:
    """One client."""

    def __init__(self, controller, sock, session):
        self.controller = controller
        self.sock = sock
        self.session = session
        self.functions = {}
        self.lock = threading.Lock()

    def send(self, *args, **kwargs):
        with contextlib.suppress(OSError), self.lock:
            self.sock.sendall(frame(*args, **kwargs))

    def receive_exactly(self, size):
        data = bytearray(size)
        view = memoryview(data)
        while len(view):
            got = self.sock.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return data

    def receive(self):
        head = HEADER.unpack(self.receive_exactly(HEADER.size))
        _, _, kind, _, body_size, session, sequence, engine, part_count, _ = head
        sizes = [struct.unpack("<Q", self.receive_exactly(8))[0] for _ in range(part_count)]
        body = self.receive_exactly(body_size)
        if self.controller.before_parts:
            self.controller.before_parts(self, sizes)
        parts = [self.receive_exactly(size) for size in sizes]
        return kind, sequence, bytes(body), parts

    def run(self):
        try:
            preamble = self.receive_exactly(32)
            self.sock.sendall(preamble[:10] + b"\0" * 6 + INSTANCE)
            self.receive()
            self.welcome()
            while True:
                self.handle(*self.receive())
        except (EOFError, OSError, KeyError):
            self.sock.close()

    def welcome(self):
        c = self.controller
        text = {
            "cluster_id": "", "profile": "fake", "instance": INSTANCE.hex(),
            "session": f"{self.session:016x}", "token": "0" * 32, "controller_pid": os.getpid(),
            "window_count": c.window_count, "window_bytes": 1 << 30,
        }
        self.send(WELCOME, json.dumps(text).encode())
        self.tell_engines(full=True, up=list(c.engines.values()))

    def tell_window(self, count):
        """The limits change."""
        self.send(WINDOW, json.dumps({"window_count": count, "window_bytes": 1 << 30}).encode())

    def tell_engines(self, full=False, up=(), down=()):
        text = {"full": full, "up": list(up), "down": list(down)}
        self.send(ENGINES, json.dumps(text).encode())

    def handle(self, kind, sequence, body, parts):
        c = self.controller
        if kind == SUBMIT:
            self.submit(sequence, body, parts)
        elif kind == FUNCTION:
            self.learn(body, parts[0])
        elif kind == QUERY:
            c.asked.append(json.loads(body))
            answer = c.answers.get(json.loads(body)["query"], {"ok": False, "error": "no such query"})
            self.send(REPLY, json.dumps(answer).encode(), session=self.session, sequence=sequence)
        elif kind == RESULT_ACK:
            c.acknowledged += len(body) // 16
        elif kind == ABORT:
            self.abort(sequence, body)
        elif kind == GOODBYE:
            raise EOFError

    def learn(self, name, pickle):
        """A function comes; the rule for what is forgotten is the protocol's."""
        if name in self.functions or name != hashlib.blake2b(pickle, digest_size=32).digest():
            raise EOFError
        if len(self.functions) == FUNCTIONS_MAX:
            del self.functions[next(iter(self.functions))]
        self.functions[name] = pickle
        self.controller.functions.append(len(pickle))

    def abort(self, sequence, body):
        """What has not begun ends now."""
        c = self.controller
        wanted = {number for _, number in struct.iter_unpack("<QQ", body[8:])}
        c.orders.append((body[0], wanted))
        for task in list(c.tasks.queue):
            if task is not None and task.connection is self and task.sequence in wanted:
                c.aborted.add(task)
                error = c.describe("TaskAborted", "the task was aborted before it started", "", task)
                self.send(RESULT, struct.pack("<B7xqqq", FAILED, 1, 0, 1), [error], self.session,
                          task.sequence)
        self.send(REPLY, b'{"ok": true}', session=self.session, sequence=sequence)

    def submit(self, sequence, body, parts):
        kind, flags, run_flags, _, count = struct.unpack_from("<BBBBI", body)
        targets = struct.unpack_from(f"<{count}I", body, 8)
        self.controller.submissions.append((count, [len(part) for part in parts]))
        (size,) = struct.unpack_from("<H", body, 8 + 4 * count)
        label = body[10 + 4 * count:10 + 4 * count + size].decode()
        rest = body[10 + 4 * count + size:]
        if flags & 8:
            rest, name = rest[:-32], rest[-32:]
            self.functions[name] = self.functions.pop(name)  # used last
            parts.insert(0, self.functions[name])
        self.controller.options.append(rest)
        if flags & 1:
            targets = [self.controller.next_engine(targets)]
        for i, engine in enumerate(targets):
            task = Task(self, kind, run_flags, engine, sequence + i, parts, label)
            self.controller.tasks.put(task)


class Controller:
    """The controller. `path` is its connection file."""

    def __init__(self, folder, engines=4, pythons=None, window_count=1000):
        self.engines = {}
        self.namespaces = {}
        for i in range(engines):
            self.add(i, (pythons or {}).get(i, PYTHON))
        self.window_count = window_count
        self.answers = {"find": {"ok": True, "rows": [], "next": None}}  # it remembers nothing
        self.acknowledged = 0
        self.taken = 0  # tasks that left the queue
        self.orders = []
        self.options = []
        self.asked = []
        self.answered = 0
        self.before_parts = None  # called with a connection that has parts of these sizes to read
        self.submissions = []  # (number of targets, sizes of the parts)
        self.functions = []
        self.aborted = set()
        self.connections = []
        self.tasks = queue.Queue()
        self.seen = []
        self.gate = threading.Event()
        self.gate.set()
        self.turn = 0
        self.listener = socket.socket(socket.AF_UNIX)
        socket_path = os.path.join(folder, "s")
        self.listener.bind(socket_path)
        self.listener.listen(64)
        self.info = {
            "version": 1, "role": "client", "cluster_id": "", "profile": "fake",
            "instance": INSTANCE.hex(), "url": "tcp://127.0.0.1:1", "unix": socket_path,
            "exec_key": "01" * 32, "controller_key": "02" * 32, "location": "here", "ssh": None,
        }
        self.path = os.path.join(folder, "client.json")
        with open(self.path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            json.dump(self.info, file)
        for target in (self.accept, self.work):
            threading.Thread(target=target, daemon=True).start()

    def add(self, number, python=PYTHON, tags=""):
        self.engines[number] = {
            "id": number, "pid": 1000 + number, "host": "here", "python": python,
            "uuid": f"{number:032x}", "tags": tags,
        }
        self.namespaces[number] = {"__builtins__": __builtins__}

    def arrive(self, number, python=PYTHON, tags=""):
        """An engine comes."""
        self.add(number, python, tags)
        for connection in self.connections:
            connection.tell_engines(up=[self.engines[number]])

    def depart(self, number):
        """An engine goes."""
        del self.engines[number]
        for connection in self.connections:
            connection.tell_engines(down=[{"id": number, "reason": "gone"}])

    def hold(self):
        """Run nothing until release()."""
        self.gate.clear()

    def release(self):
        self.gate.set()

    def hang_up(self):
        """The connections break."""
        for connection in self.connections:
            connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.gate.set()
        self.tasks.put(None)
        self.listener.close()
        self.hang_up_quietly()

    def hang_up_quietly(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self, sock, 0xABC0 + len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    def next_engine(self, targets):
        choice = list(targets) or sorted(self.engines)
        self.turn += 1
        return choice[self.turn % len(choice)]

    def work(self):
        while True:
            task = self.tasks.get()
            if task is None:
                return
            self.taken += 1
            self.gate.wait()
            if task in self.aborted:
                continue
            self.seen.append(task)
            self.run(task)

    def run(self, task):
        started = time.time_ns() // 1000
        status, parts = OK, []
        if task.engine not in self.engines:
            status = FAILED
            parts = [self.describe("EngineError", f"engine {task.engine} was killed by SIGKILL", "", task)]
        else:
            out = io.StringIO()
            try:
                parts = self.execute(task, out)
            except Exception as e:
                status = ERROR
                parts = [self.describe(type(e).__name__, str(e), traceback.format_exc(), task)]
            if out.getvalue():
                task.connection.send(
                    STREAM, bytes(16), [out.getvalue().encode()], task.connection.session,
                    task.sequence, task.engine)
        times = struct.pack("<B7xqqq", status, task.submitted, started, time.time_ns() // 1000)
        task.connection.send(RESULT, times, parts, task.connection.session, task.sequence, task.engine)
        self.answered += 1

    def describe(self, ename, evalue, text, task):
        info = {"engine_id": task.engine, "engine_uuid": f"{task.engine:032x}", "method": "apply"}
        content = {"ename": ename, "evalue": evalue, "traceback": text, "engine_info": info}
        return json.dumps(content).encode()

    def execute(self, task, out):
        namespace = self.namespaces[task.engine]
        if task.kind == APPLY:
            f = pickle.loads(task.parts[0])
            args, kwargs = pickle.loads(task.parts[1], buffers=task.parts[2:])
            with contextlib.redirect_stdout(out):
                value = f(*args, **kwargs)
        elif task.kind == EXECUTE:
            with contextlib.redirect_stdout(out):
                exec(bytes(task.parts[0]).decode(), namespace)
            if task.flags & 1:
                return []
            value = {"execution_count": 1, "data": {"text/plain": "42"}}
        elif task.kind == PUSH:
            namespace.update(pickle.loads(task.parts[0], buffers=task.parts[1:]))
            return []
        elif task.kind == PULL:
            wanted = json.loads(bytes(task.parts[0]))
            if isinstance(wanted, str):
                value = eval(wanted, namespace)
            else:
                value = [eval(name, namespace) for name in wanted]
        else:
            namespace.clear()
            return []
        buffers = []
        data = pickle.dumps(value, 5, buffer_callback=lambda b: buffers.append(b.raw()))
        return [data, *buffers]
