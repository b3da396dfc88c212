# SPDX-License-Identifier: BSD-3-Clause
"""contract.py says what differs; here with a package that is not pcluster's."""

import inspect

import contract
import pytest


def call(code, n=1, *, names=(), limit=None):
    """What the rows below describe."""


class Thing:
    def __init__(self):
        self.size = 1


@pytest.mark.parametrize("stated, expected", [
    ("code", []),
    ("code, n=1, *, names=[], limit=None", []),
    ("n=...", []),
    ("code, other=2", ["has no argument 'other'"]),
    ("n=2", ["the default of 'n' is 1, not 2"]),
    ("code=...", ["the default of 'code' is <class 'inspect._empty'>, not Ellipsis"]),
    ("*, limit=0", ["the default of 'limit' is None, not 0"]),
])
def test_signature(stated, expected):
    assert list(contract.differences("call", call, stated)) == [f"call: {text}" for text in expected]


def test_constants_of_futures_are_defaults():
    assert dict(contract.stated_arguments("x, when=ALL_COMPLETED")) == {
        "x": inspect.Parameter.empty, "when": "ALL_COMPLETED"}


def test_attributes_of_instances():
    names = ("size", "siz", "length")
    assert [name for name in names if contract.is_set_by_instances(Thing, name)] == ["size"]


def test_rows(monkeypatch):
    there = {"Thing": Thing, "call": call}
    monkeypatch.setattr(contract, "find", there.get)
    assert contract.compare("Thing") == [] and contract.compare("Other(n=1)") == ["Other: is missing"]
    assert contract.appeared("Other: why") == [] and contract.appeared("call: maybe") == []
    assert "is there now" in contract.appeared("call: why")[0]
    assert "is there now" in contract.appeared("call(limit): why")[0]
    assert contract.appeared("call(other): why") == []
    assert "reason" in contract.appeared("Other")[0]
    assert contract.refused("call: why") == ["call: is not what [refused] says"]


def test_names_without_a_test(tmp_path):
    folder = tmp_path / "python/tests"
    folder.mkdir(parents=True)
    (folder / "test_a.py").write_text("thing.tried()\n")
    rows = {"present": [], "refused": [], "later": [], "untested": ["A.gone"]}
    assert contract.untested(["A.tried", "A.forgotten", "A.__len__"], tmp_path) == {"A.forgotten"}
    assert contract.check(rows, tmp_path) == ["A.gone: its row in [untested] can go"]
