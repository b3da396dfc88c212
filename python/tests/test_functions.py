# SPDX-License-Identifier: BSD-3-Clause
"""How functions travel."""


def test_function_travels_once(controller, client):
    view = client.load_balanced_view()
    blob = "x" * 100_000

    def measure(n):
        return len(blob) + n

    assert [view.apply_sync(measure, n) for n in range(5)] == [100_000 + n for n in range(5)]
    assert client[:].apply_sync(measure, 1) == [100_001] * 4
    assert len(controller.functions) == 1 and controller.functions[0] > 100_000


def test_function_that_must_be_pickled_anew_travels_once(controller, client):
    table = {"a": 1}  # it may change without becoming another object

    def look(key):
        return table.get(key)

    assert client[0].apply_sync(look, "a") == client[1].apply_sync(look, "a") == 1
    assert len(controller.functions) == 1
    table["b"] = 2
    assert client[0].apply_sync(look, "b") == 2
    assert len(controller.functions) == 2


def test_many_functions_in_turn(controller, client):
    functions = [eval(f"lambda: {i}", {"__name__": "__main__"}) for i in range(200)]
    for _ in range(2):
        results = [client[0].apply_async(f) for f in functions]
        assert [result.get() for result in results] == list(range(200))
    assert len(controller.functions) == 400  # more than both ends keep: as if they had no name


def test_what_can_be_imported_has_no_name(controller, client):
    assert client[0].apply_sync(abs, -3) == 3
    assert controller.functions == []


def test_function_larger_than_a_name_is_worth(controller, client):
    blob = b"x" * (9 << 20)
    assert client[0].apply_sync(lambda: len(blob)) == 9 << 20
    assert controller.functions == []
