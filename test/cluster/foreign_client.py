# SPDX-License-Identifier: BSD-3-Clause
"""A client of the protocol as somebody would write it in another language: from doc/PROTOCOL.md alone.

It uses nothing of pcluster and nothing but what every language has: sockets, bytes, JSON. It connects to the Unix
socket, has an engine evaluate an expression, and shows what it printed and its value.

usage: foreign_client.py CONNECTION_FILE EXPRESSION
"""

import json
import os
import socket
import struct
import sys
from typing import Any, NamedTuple, Optional

HELLO, WELCOME, REFUSED, ENGINES = 1, 2, 3, 5
SUBMIT, RESULT, STREAM, RESULT_ACK = 16, 18, 19, 20
QUERY, REPLY, RECEIVED = 24, 25, 28
PULL = 4
AS_JSON = 2
NO_ENGINE = 0xFFFFFFFF
HEADER = struct.Struct("<cBBBIQQIHH")


class Message(NamedTuple):
    """Section 2."""

    type: int
    body: bytes = b""
    session: int = 0
    sequence: int = 0
    engine: int = NO_ENGINE
    parts: tuple[bytes, ...] = ()
    received: int = 0


def frame(message: Message) -> bytes:
    """The bytes of a message."""
    header = HEADER.pack(b"p", 1, message.type, 0, len(message.body), message.session, message.sequence, message.engine,
                         len(message.parts), message.received % 65536)
    sizes = b"".join(struct.pack("<Q", len(part)) for part in message.parts)
    return header + sizes + message.body + b"".join(message.parts)


def preamble(instance: bytes) -> bytes:
    """Section 1: version 1, suite 0."""
    return struct.pack("<8sHB5x16s", b"PCLUSTER", 1, 0, instance)


def public_key(private: bytes) -> bytes:
    """X25519 of the base point, as in RFC 7748; other languages have a library."""
    prime = 2**255 - 19
    scalar = (int.from_bytes(private, "little") & ~7 & ~(1 << 255)) | 1 << 254
    x2, z2, x3, z3, swapped = 1, 0, 9, 1, 0
    for bit in [scalar >> i & 1 for i in range(254, -1, -1)]:
        if bit != swapped:
            x2, z2, x3, z3, swapped = x3, z3, x2, z2, bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        x3, z3 = (da + cb) ** 2 % prime, 9 * (da - cb) ** 2 % prime
        x2, z2 = aa * bb % prime, (aa - bb) * (aa + 121665 * (aa - bb)) % prime
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, -1, prime) % prime).to_bytes(32, "little")


def hello(private: bytes, pid: int, host: str, uuid: bytes) -> Message:
    """Who connects."""
    about = {"role": "client", "public_key": public_key(private).hex(), "pid": pid, "host": host, "uuid": uuid.hex()}
    return Message(HELLO, json.dumps(about, separators=(",", ":")).encode())


def pull(session: int, sequence: int, engine: int, expression: str) -> Message:
    """A SUBMIT of kind PULL to one engine, which is to send JSON."""
    label = b"foreign"
    body = struct.pack("<BBBBIIH", PULL, 0, AS_JSON, 0, 1, engine, len(label)) + label
    return Message(SUBMIT, body, session, sequence, parts=(json.dumps(expression).encode(),))


def acknowledge(session: int, sequence: int) -> Message:
    """The result has arrived."""
    return Message(RESULT_ACK, struct.pack("<QQ", session, sequence))


class Connection:
    """To the Unix socket of a cluster."""

    def __init__(self, file: dict[str, Any]) -> None:
        instance = bytes.fromhex(file["instance"])
        self.received = 0  # rule 22: messages since WELCOME
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(file["unix"])
        self.socket.sendall(preamble(instance))
        answer = self._read(32)
        if answer[:8] != b"PCLUSTER" or answer[10] != 0:
            raise ConnectionError(f"the answer is {answer[10]}")
        self.send(hello(bytes.fromhex(file["exec_key"]), os.getpid(), socket.gethostname(), os.urandom(16)))
        welcome = self.expect(WELCOME)
        self.received = 0
        self.session = int(json.loads(welcome.body)["session"], 16)
        self.engines = [engine["id"] for engine in json.loads(self.expect(ENGINES).body)["up"]]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the cluster closed the connection")
            data += piece
        return data

    def send(self, message: Message) -> None:
        """Sends one message."""
        self.socket.sendall(frame(message._replace(received=self.received)))

    def receive(self) -> Message:
        """The next message."""
        head = self._read(HEADER.size)
        magic, version, kind, flags, size, session, sequence, engine, count, received = HEADER.unpack(head)
        if (magic, version, flags) != (b"p", 1, 0):
            raise ConnectionError(f"this is no frame: {head.hex(' ')}")
        sizes = struct.unpack(f"<{count}Q", self._read(8 * count))
        body = self._read(size)
        self.received += kind != RECEIVED
        return Message(kind, body, session, sequence, engine, tuple(self._read(part) for part in sizes), received)

    def expect(self, kind: int, sequence: Optional[int] = None) -> Message:
        """The next message of that kind. Others are printed (output) or, as a client may, ignored."""
        while True:
            message = self.receive()
            if message.type == kind and sequence in (None, message.sequence):
                return message
            if message.type == REFUSED:
                raise ConnectionError(message.body.decode())
            if message.type == STREAM and message.body[0] < 2:
                (sys.stdout, sys.stderr)[message.body[0]].write(message.parts[0].decode())


def main() -> None:
    path, expression = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        connection = Connection(json.load(file))
    connection.send(pull(connection.session, 1, connection.engines[0], expression))
    result = connection.expect(RESULT, 1)
    connection.send(acknowledge(connection.session, 1))
    if result.body[0] == 1:
        print(json.loads(result.parts[0]))
    else:
        error = json.loads(result.parts[0])
        sys.exit(f"{error['ename']}: {error['evalue']}")


if __name__ == "__main__":
    main()
