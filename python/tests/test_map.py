# SPDX-License-Identifier: BSD-3-Clause
"""Cutting sequences and putting them together."""

import pytest

from pcluster.client import Map, RoundRobinMap
from pcluster.client.map import map_for, partition_all


@pytest.mark.parametrize("n", [0, 1, 2, 7, 10, 11])
@pytest.mark.parametrize("q", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("dist", ["b", "r"])
def test_round_trip(n, q, dist):
    parts = partition_all(list(range(n)), q, dist)
    assert len(parts) == q
    assert map_for(dist).join(parts) == list(range(n))
    assert map_for(dist).join(partition_all(range(n), q, dist)) == list(range(n))
    sizes = [len(part) for part in parts]
    assert sizes == [n // q + (p < n % q) for p in range(q)]


def test_blocks_are_contiguous():
    assert partition_all("abcdefg", 3) == ["abc", "de", "fg"]
    assert partition_all(range(5), 2) == [range(0, 3), range(3, 5)]


def test_strides():
    assert partition_all([1, 2, 3, 4, 5], 2, "r") == [[1, 3, 5], [2, 4]]


def test_iterators_and_sets_become_lists():
    assert partition_all(iter([1, 2, 3]), 2) == [[1, 2], [3]]
    assert sorted(partition_all({1}, 1)[0]) == [1]
    assert partition_all({"a": 1}, 1) == [["a"]]


@pytest.mark.parametrize("dist", ["b", "r"])
def test_arrays(dist):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(22).reshape(11, 2)
    joined = map_for(dist).join(partition_all(array, 3, dist))
    assert isinstance(joined, numpy.ndarray) and (joined == array).all()


def test_other_parts_stay_a_list():
    assert Map().join(["ab", "c"]) == ["ab", "c"]
    assert RoundRobinMap().join([1, 2]) == [1, 2]
    assert Map().join([]) == []
    assert Map().join([(1,), [2]]) == [1, 2]


def test_unknown_distribution():
    with pytest.raises(ValueError, match="'x'"):
        map_for("x")
