# SPDX-License-Identifier: BSD-3-Clause
"""The programs of examples/ on a real cluster: they agree with their independent answers, they
notice a wrong result, and they leave nothing behind."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEADLINE_S

import pcluster

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
NEEDS_NUMPY = ("options", "histogram", "wave")

# Runs an example as it is but for some statements that come just before main().
SABOTAGE = """
import sys
path, fault, *arguments = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    source, found, rest = file.read().partition('\\nif __name__ == "__main__":\\n')
assert found and rest == "    main()\\n"
__file__, sys.argv = path, [path, *arguments]
exec(compile(source + fault + "\\nmain()\\n", path, "exec"))
"""

# What goes wrong here, in the program.
WRONG_HERE = {
    "census": """
right = count_on_engines
def count_on_engines(client, sources): return right(client, sources[1:])""",
    "futures": """
def with_await(client, blocks, size): return with_executor(client, blocks[1:], size)
WAYS["await"] = with_await""",
    "histogram": """
right = merge
def merge(histograms):
    counts, edges = right(histograms)
    counts[7] += 1
    return counts, edges""",
    "options": """
right = price_on_engines
def price_on_engines(*args): return right(*args)[::-1]""",
    "pidigits": """
right = merge
def merge(counts): return right(list(counts)[:-1])""",
    "wave": "def exchange(engines): pass",
    "wordcount": """
right = merge
def merge(counts): return right(list(counts)[:-1])""",
}

# What goes wrong on engines: the namespace of an engine comes before what a function carries.
WRONG_THERE = {
    "census": "isinstance = lambda *args: False",
    "futures": "all = lambda values: True",
    "histogram": "float = lambda value: 99.0",
    "options": "SPOT = 90.0",
    "pidigits": "min = lambda *args: 3",
    "wave": "RATIO = 0.2",
    "wordcount": "import re; WORD = re.compile('[a-z]+')",
}


@pytest.fixture
def arguments(tmp_path):
    """{example: arguments for a small run}"""
    sources, texts = tmp_path / "sources", tmp_path / "texts"
    sources.mkdir()
    for number in range(6):
        (sources / f"a{number}.py").write_text("import os\n" + f"def f{number}(): return os\n" * (number + 1))
    (sources / "broken.py").write_text("def\n")
    texts.mkdir()
    for number in range(6):
        (texts / f"{number}.txt").write_text("The naïve don't know\nthe Straße\n" * 100, encoding="utf-8")
    (texts / "latin").write_bytes(b"na\xefve " * 100)
    (texts / "binary").write_bytes(b"the \0")
    return {
        "census": [sources],
        "futures": ["200", "--block", "9"],
        "histogram": ["5000"],
        "options": ["2000"],
        "pidigits": ["2000", "--block", "7"],
        "wave": ["40"],
        "wordcount": ["--folder", texts],
    }


def run(home, name, *args, fault=None):
    """Runs an example, with a fault or as it is, in an empty folder."""
    if name in NEEDS_NUMPY:
        pytest.importorskip("numpy")
    path = EXAMPLES / f"{name}.py"
    how = [path] if fault is None else ["-c", SABOTAGE, path, fault]
    return subprocess.run([sys.executable, *how, *args], cwd=home.work, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE_S, check=False)


def succeed(home, name, *args, fault=None):
    """The same; returns what it printed."""
    done = run(home, name, *args, fault=fault)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def load(name):
    """An example as a module."""
    if name in NEEDS_NUMPY:
        pytest.importorskip("numpy")
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_noticed(done):
    assert done.returncode == 1
    assert "differ" in done.stderr and "Traceback" not in done.stderr


def test_all_are_tested(arguments):
    assert NAMES == sorted(arguments) == sorted(WRONG_HERE) == sorted(WRONG_THERE)
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\.py\]", table, re.M)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_agrees_and_leaves_nothing(home, start, arguments, name):
    start(3)
    expected = home.leftovers()
    with pcluster.Client() as client:
        before = client[:].pull("set(globals())", block=True)
    printed = succeed(home, name, *arguments[name])
    assert re.search(r"\d+\.\d+ s    .*one process: \d+\.\d+ s", printed), printed
    assert os.listdir(home.work) == []
    assert home.leftovers() == expected
    with pcluster.Client() as client:
        after = client[:].pull("set(globals())", block=True)
    # Engines keep what functions carried: names that the program itself has. Nothing else may stay.
    carried = set(compile((EXAMPLES / f"{name}.py").read_bytes(), name, "exec").co_names)
    assert [new - old - carried for new, old in zip(after, before, strict=True)] == [set()] * 3


@pytest.mark.parametrize("name", NAMES)
def test_notices_a_fault_here(home, cluster, arguments, name):
    assert succeed(home, name, *arguments[name], fault="pass")  # it is not the way of running it
    assert_noticed(run(home, name, *arguments[name], fault=WRONG_HERE[name]))


@pytest.mark.parametrize("name", NAMES)
def test_notices_a_wrong_engine(home, cluster, arguments, name):
    with pcluster.Client() as client:
        is_balanced = name in ("census", "futures", "options", "pidigits")
        where = client[:] if is_balanced else client[0]
        where.execute(WRONG_THERE[name], block=True)
    assert_noticed(run(home, name, *arguments[name]))


@pytest.mark.parametrize("name, args", [
    ("futures", ["1"]), ("histogram", ["1"]), ("histogram", ["2", "--bins", "1"]), ("pidigits", ["2", "--block", "1"]),
    ("pidigits", ["3", "--block", "5"]), ("wave", ["3"]), ("wave", ["4", "--steps", "9"]),
    ("wave", ["6", "--steps", "0"]), ("wordcount", ["1e-6"])])
def test_less_work_than_engines(home, start, name, args):
    start(3)
    succeed(home, name, *args)


@pytest.mark.parametrize("name", NAMES)
def test_without_engines(home, controller, arguments, name):
    done = run(home, name, *arguments[name])
    assert done.returncode == 1
    assert "no engines" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_cannot_connect(home, arguments, name):
    path = Path(home.security(profile="broken"))
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    done = run(home, name, "--profile", "broken", *arguments[name])
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}.py: ") and str(path) in done.stderr


# ---- what they print, and what they compare with ------------------------------------------------


def test_census_counts(home, cluster, arguments):
    printed = succeed(home, "census", *arguments["census"])
    for line in ("files 7", "functions 21", "imports 6", "not parsed 1", "os 21"):
        assert re.search(r"^ *" + line.replace(" ", " +") + "$", printed, re.M), printed


def test_wordcount_counts(home, cluster, arguments):
    printed = succeed(home, "wordcount", *arguments["wordcount"])
    assert "1,200 lines, 3,600 words, 5 different ones" in printed
    for line in ("the 1,200", "don't 600", "know 600", "naïve 600", "strasse 600"):
        assert re.search(r"^ *" + line.replace(" ", " +") + "$", printed, re.M), printed


def spigot():
    """Digits of pi one by one, in Gibbons' way."""
    q, r, t, k, n, x = 1, 0, 1, 1, 3, 3
    while True:
        if 4 * q + r - t < n * t:
            yield str(n)
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, x = (q * k, (2 * q + r) * x, t * x, k + 1,
                                (q * (7 * k + 2) + r * x) // (t * x), x + 2)


def test_digits_of_pi():
    module = load("pidigits")
    digits = "".join(digit for digit, _ in zip(spigot(), range(1500)))
    assert digits.startswith("31415926535897932384")
    for count in (1, 2, 13, 14, 15, 1500):
        assert module.pi_digits(count) == digits[:count]


def test_closed_forms_of_options():
    """Against integrals over what the price may be."""
    module = load("options")
    numpy = pytest.importorskip("numpy")
    z = numpy.linspace(-10, 10, 200_001)
    density = numpy.exp(-z**2 / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for strike, volatility in ((90.0, 0.1), (110.0, 0.4)):
        last = 100 * numpy.exp(0.05 - volatility**2 / 2 + volatility * z)
        expected = math.exp(-0.05) * (density * numpy.maximum(last - strike, 0)).sum()
        assert module.european(strike, volatility) == pytest.approx(expected, rel=1e-6)
        # Price k has (13 - k) of the 12 steps' weights in the logarithm of the mean.
        weights = numpy.arange(12, 0, -1) / 12
        drift = (0.05 - volatility**2 / 2) / 12 * weights.sum()
        spread = volatility * math.sqrt((weights**2).sum() / 12)
        mean = 100 * numpy.exp(drift + spread * z)
        expected = math.exp(-0.05) * (density * numpy.maximum(mean - strike, 0)).sum()
        assert module.asian(strike, volatility) == pytest.approx(expected, rel=1e-6)


def test_solution_of_the_wave_equation():
    """Against a standing wave, which the scheme keeps in shape, at a frequency that is known."""
    module = load("wave")
    numpy = pytest.importorskip("numpy")
    points, steps = 41, 100
    x = numpy.linspace(0, math.pi, points)
    shape = numpy.outer(numpy.sin(2 * x), numpy.sin(3 * x))
    h = x[1] / 2
    half = math.asin(math.sqrt(module.RATIO * (math.sin(2 * h) ** 2 + math.sin(3 * h) ** 2)))
    # Both first steps are the same, so the wave stands still half a step after the first.
    expected = shape * math.cos(2 * half * (steps + 0.5)) / math.cos(half)
    assert numpy.abs(module.solve_here(shape, steps) - expected).max() < 1e-11
