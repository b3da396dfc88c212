# SPDX-License-Identifier: BSD-3-Clause
"""doc/PROTOCOL.md is enough for a client in another language, and its bytes are those that travel."""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys

import foreign_client as foreign
import pytest

DOCUMENT = pathlib.Path(__file__).parents[2] / "doc" / "PROTOCOL.md"

# Of the examples.
INSTANCE = bytes(range(0, 256, 17))
PRIVATE = bytes(range(1, 33))
UUID = bytes(range(0xA0, 0xB0))
SESSION = 0x5C1EE2B1A9D30F77
TIMES = struct.pack("<qqq", 1795629600000000, 1795629600000210, 1795629600000250)


def examples():
    """{name: bytes} of the blocks below "Examples"."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(". Examples\n")[2]
    found = {}
    for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S):
        name, *lines = block.splitlines()
        found[name] = b"".join(
            line[2:].encode() if line.startswith("> ")
            else bytes.fromhex(line.partition("  ")[0]) for line in lines)
    return found


@pytest.mark.parametrize("name, sent", [
    ("preamble", foreign.preamble(INSTANCE)),
    ("HELLO", foreign.frame(foreign.hello(PRIVATE, 4711, "ann", UUID))),
    ("SUBMIT", foreign.frame(foreign.pull(SESSION, 1, 0, "6 * 7")._replace(received=1))),
    ("RESULT_ACK", foreign.frame(foreign.acknowledge(SESSION, 1)._replace(received=2))),
])
def test_what_is_sent(name, sent):
    assert examples()[name].hex(" ") == sent.hex(" ")


def test_a_call(cluster):
    """A cluster takes these bytes, and answers with those of the page."""
    with open(cluster.home.security(), encoding="utf-8") as file:
        about = json.load(file)
    connection = foreign.Connection(about)
    assert foreign.public_key(bytes.fromhex(about["exec_key"])).hex() != about["controller_key"]
    assert connection.engines == [0, 1]
    connection.send(foreign.pull(connection.session, 1, 0, "6 * 7"))
    result = connection.expect(foreign.RESULT, 1)
    connection.send(foreign.acknowledge(connection.session, 1))
    submitted, started, completed = struct.unpack("<qqq", result.body[8:])
    assert 0 < submitted and 0 < started <= completed
    shown = result._replace(session=SESSION, body=result.body[:8] + TIMES)
    assert foreign.frame(shown).hex(" ") == examples()["RESULT"].hex(" ")
    assert json.loads(result.parts[0]) == 42
    # The acknowledgement was one: the cluster answers on.
    connection.send(foreign.Message(foreign.QUERY, b'{"query":"status"}', sequence=1))
    reply = json.loads(connection.expect(foreign.REPLY, 1).body)
    assert reply["ok"] and reply["tasks"]["done"] == 1 and reply["clients"] == 1


def test_as_a_program(cluster):
    """Output comes before the result; an error has a name."""

    def run(expression):
        path = cluster.home.security()
        return subprocess.run([sys.executable, foreign.__file__, path, expression], text=True,
                              capture_output=True, timeout=120, check=False)

    done = run("print('hello', flush=True) or 42")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n42\n", "")
    done = run("1 / 0")
    assert (done.returncode, done.stderr) == (1, "ZeroDivisionError: division by zero\n")


def test_every_member_is_named(cluster):
    """Of the JSON that a client gets, in section 9."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## 9.")[2].partition("## 10.")[0]
    with open(cluster.home.security(), encoding="utf-8") as file:
        about = json.load(file)

    class Listening(foreign.Connection):
        got = []

        def receive(self):
            self.got.append(super().receive())
            return self.got[-1]

    Listening(about)
    names = set()
    for message in Listening.got:
        said = json.loads(message.body)
        names |= set(said) | {name for engine in said.get("up", []) for name in engine}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_nothing_of_pcluster_is_used():
    with open(foreign.__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert not [line for line in lines if re.match(r"\s*(import|from) pcluster", line)]
    assert os.path.basename(foreign.__file__) in DOCUMENT.read_text(encoding="utf-8")
    assert len(lines) < 200
