# SPDX-License-Identifier: BSD-3-Clause
"""What tasks depend on, and what of it is sent."""

import struct

import pytest

from pcluster import Dependency

ONE, TWO = "000000000000000a_1", "000000000000000a_2"


@pytest.mark.parametrize("options, done, failed, met, unreachable", [
    ({}, [], [], False, False),
    ({}, [ONE], [], False, False),
    ({}, [ONE, TWO], [], True, False),
    ({}, [ONE], [TWO], False, True),
    ({"all": False}, [ONE], [], True, False),
    ({"all": False}, [], [ONE], False, False),
    ({"all": False}, [], [ONE, TWO], False, True),
    ({"success": False, "failure": True}, [], [ONE, TWO], True, False),
    ({"success": False, "failure": True}, [ONE], [], False, True),
    ({"failure": True}, [ONE], [TWO], True, False),
])
def test_when_it_is_met(options, done, failed, met, unreachable):
    dependency = Dependency([ONE, TWO], **options)
    assert dependency.check(done, failed) is met
    assert dependency.unreachable(done, failed) is unreachable
    same = Dependency.from_value(dependency.as_dict())
    assert same == dependency and same.as_dict() == dependency.as_dict()


def test_nothing_is_always_met():
    assert Dependency().check([]) and not Dependency().unreachable([ONE], [TWO])


def test_what_can_not_be():
    with pytest.raises(ValueError):
        Dependency([ONE], success=False)
    with pytest.raises(TypeError):
        Dependency([7])
    for value in (7, "id", [ONE, "id"], {"sucess": True}, f"{ONE}x"):
        with pytest.raises(ValueError):
            Dependency.from_value(value)


def test_what_is_sent(controller, client):
    view = client.load_balanced_view()
    first = view.apply_async(int)
    view.set_flags(after=first, follow=Dependency([ONE, TWO], all=False, failure=True), timeout=1.5,
                   run_timeout=0.0001, retries=3, retry_same=True, priority=-7, tags={"gpu", "big"})
    assert view.apply_sync(int) == 0
    with view.temp_flags(after=None, follow=[], timeout=0, run_timeout=0, retries=0,
                         retry_same=False, priority=0, tags=None):
        view.apply_sync(int)
    client[0].apply_sync(int)
    plain, given, reset, direct = controller.options
    assert plain == reset == direct == b""
    assert struct.unpack_from("<iIII", given) == (-7, 3, 1500, 1)
    assert struct.unpack_from("<H7s", given, 16) == (7, b"big,gpu")
    assert struct.unpack_from("<IIQQ", given, 25) == (3, 1, int(client.session, 16), 1)
    rule, count, *pairs = struct.unpack_from("<IIQQQQ", given, 49)
    assert (rule, count) == (6, 2)
    assert {(pairs[0], pairs[1]), (pairs[2], pairs[3])} == {(10, 1), (10, 2)}
    assert len(given) == 16 + 9 + 24 + 40
