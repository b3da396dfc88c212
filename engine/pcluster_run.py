# SPDX-License-Identifier: BSD-3-Clause
"""What an engine does with source text, names and errors. Calls of functions are in call.c."""

import _ast
import gc
import linecache
import sys
import traceback

from pcluster_display import representations
from pcluster_load import clear as _clear_carried
from pcluster_load import forget_carried, namespace

# Our own frames have file names that start like this; users need not see them.
_OWN_FRAMES = "<pcluster engine"
_EVALUE_MAX = 64 * 1024
_TRACEBACK_MAX = 256 * 1024

_initial: dict = {}  # the namespace of a fresh engine
_execution_count = 0

# Sources that tracebacks can still show; older ones are dropped.
_SOURCES_MAX = 1000
_SOURCES_BYTES_MAX = 4 << 20
_sources: dict = {}  # sizes by file name, the oldest first
_sources_bytes = 0
_source_count = 0

# source -> (its file name, code of the body, code of the last expression); the latest come last.
_COMPILED_MAX = 128
_COMPILED_SOURCE_MAX = 4096
_compiled: dict = {}


def start():
    """Notes what belongs to a fresh engine. Call once, in the engine."""
    _initial.update(namespace)


def _remember(source, name=None):
    """Keeps the source for tracebacks, which find its lines under its file name: that of a file of
    the client, which need not be here, or one of its own."""
    global _source_count, _sources_bytes
    if name is None:
        _source_count += 1
        name = f"<pcluster execute {_source_count}>"
    _sources_bytes += len(source) - _sources.pop(name, 0)
    _sources[name] = len(source)
    while len(_sources) > 1 and (
        len(_sources) > _SOURCES_MAX or _sources_bytes > _SOURCES_BYTES_MAX
    ):
        old = next(iter(_sources))
        _sources_bytes -= _sources.pop(old)
        linecache.cache.pop(old, None)
    # No time of change: nobody looks whether there is a file here, and a newer one.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    return name


def _compile(source, name):
    """Code of all but a last expression, and of that; None where there is nothing."""
    tree = compile(source, name, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body.pop() if tree.body and type(tree.body[-1]) is _ast.Expr else None
    body = compile(tree, name, "exec", dont_inherit=True) if tree.body or last is None else None
    if last is not None:
        last = compile(_ast.Expression(last.value), name, "eval", dont_inherit=True)
    return body, last


def _run(body, last):
    """Runs in the namespace what was compiled; the value is that of the last expression."""
    if body is not None:
        exec(body, namespace)
    if last is None:
        return None
    value = eval(last, namespace)
    if value is not None:
        namespace["_"] = value
    return value


def evaluate(source):
    """Runs source text in the namespace; its value is that of a last expression, else None.

    Programs send the same text again and again, so the code of the latest is kept.
    """
    found = _compiled.pop(source, None)
    if found is None or found[0] not in linecache.cache:
        name = _remember(source)
        found = (name, *_compile(source, name))
    if len(source) <= _COMPILED_SOURCE_MAX:
        _compiled[source] = found
        if len(_compiled) > _COMPILED_MAX:
            del _compiled[next(iter(_compiled))]
    return _run(*found[1:])


def execute(source, is_silent, file_name=None):
    """Runs source text in the namespace. Unless silent: its number, and its value as text."""
    global _execution_count
    name = _remember(source, file_name)
    if is_silent:
        exec(compile(source, name, "exec", dont_inherit=True), namespace)
        return None
    _execution_count += 1
    value = _run(*_compile(source, name))
    data, metadata = ({}, {}) if value is None else representations(value)
    return {"execution_count": _execution_count, "data": data, "metadata": metadata}


def _assignment(target):
    """Code that assigns `_value` to "a.b" or "d['k']"."""
    line = f"{target} = _value"
    try:
        body = compile(line, "<pcluster push>", "exec", _ast.PyCF_ONLY_AST, dont_inherit=True).body
        is_one = len(body) == 1 and type(body[0]) is _ast.Assign and len(body[0].targets) == 1 \
            and type(body[0].targets[0]) in (_ast.Attribute, _ast.Subscript)
    except SyntaxError:
        is_one = False
    if not is_one:
        raise ValueError(f"can't push to {target!r}: it is no name, attribute or item")
    return compile(line, "<pcluster push>", "exec", dont_inherit=True)


def push(values):
    """Assigns each value to its name."""
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"names to push to are str, not {type(name).__name__}")
        if name.isidentifier():
            namespace[name] = value
            forget_carried(name)
        else:
            exec(_assignment(name), namespace, {"_value": value})


def _evaluate(expression):
    if expression in namespace:
        return namespace[expression]
    code = compile(expression.strip(), "<pcluster pull>", "eval", dont_inherit=True)
    return eval(code, namespace)


def pull(wanted):
    """The value of an expression, or a list of the values of several."""
    if isinstance(wanted, str):
        return _evaluate(wanted)
    return [_evaluate(expression) for expression in wanted]


def clear():
    """Makes the namespace that of a fresh engine."""
    namespace.clear()
    namespace.update(_initial)
    _clear_carried()
    gc.collect()


class UnmetDependency(Exception):
    """What a task needs is not here: the scheduler tries it elsewhere."""


def _name_of(f):
    return getattr(f, "__name__", None) or type(f).__name__


def dependent(f, df, dargs, dkwargs):
    """What pcluster.dependent becomes here: f, called where df(*dargs, **dkwargs) is not False."""
    def call(*args, **kwargs):
        if df(*dargs, **dkwargs) is False:
            raise UnmetDependency(f"{_name_of(df)} says that {_name_of(f)} can't run here")
        return f(*args, **kwargs)
    return call


def require(modules, objects):
    """The condition of pcluster.require: brings modules and objects into the namespace."""
    for name in modules:
        try:
            exec(f"import {name}", namespace)
        except ImportError as error:
            raise UnmetDependency(f"can't import {name}: {error}") from None
        forget_carried(name.rpartition(" as ")[2].partition(".")[0])
    push(objects)


def _limited(text, limit):
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _text_of(error):
    try:
        return str(error)
    except Exception:
        return "<its text can't be made>"


def _hint(error):
    """What to do about a name that is missing on the engine."""
    name = getattr(error, "name", None)
    if type(error) is not NameError or not name:
        return ""
    return (
        f"\nhint: the engine has no '{name}'. Send it with view.push({{'{name}': ...}}); when it "
        f"is a module, import it there: @require('{name}'), or view.execute('import {name}')"
    )


def _without_own_frames(report, seen):
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    if report.stack is not None:
        report.stack[:] = [f for f in report.stack if not f.filename.startswith(_OWN_FRAMES)]
        if not report.stack:
            report.stack = None
    _without_own_frames(report.__cause__, seen)
    _without_own_frames(report.__context__, seen)
    for inner in getattr(report, "exceptions", None) or ():
        _without_own_frames(inner, seen)


def describe(error):
    """(name, text, traceback) of an exception, as plain text."""
    name = type(error).__name__
    try:
        report = traceback.TracebackException(
            type(error), error, error.__traceback__, compact=True
        )
        _without_own_frames(report, set())
        lines = "".join(report.format())
    except Exception as trouble:  # its attributes may be anything
        lines = f"{name}: its traceback can't be made: {type(trouble).__name__}\n"
    evalue = _limited(_text_of(error), _EVALUE_MAX) + _hint(error)
    return name, evalue, _limited(lines, _TRACEBACK_MAX)


def exit_code(error):
    """How a forked child that comes back with this exception ends; says why on stderr."""
    if not isinstance(error, SystemExit):
        print(describe(error)[2], end="", file=sys.stderr, flush=True)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr, flush=True)
    return 1
