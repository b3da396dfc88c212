# SPDX-License-Identifier: BSD-3-Clause
"""Values from and to pickles, under the rule for the globals of functions.

A function that was sent by value from `__main__` gets the engine's namespace as its globals: it
sees what was pushed, and `global x` writes there. The globals that it carried are put into the
namespace where the name is free, or where an earlier function's carried value still stands. So a
value that the user pushed or assigned wins, and a global that changed on the client is noticed.
"""

import builtins
import io
import marshal
import pickle
import sys
import types
from opcode import opmap

namespace = sys.modules["__main__"].__dict__

_carried: dict = {}  # name -> the object with which a function filled that name
_pairs: list = []  # what the functions of the load under way carried
_LOOKED_UP = (None, None)  # ... and that something was looked up

_ATOMS = frozenset(
    (bool, int, float, complex, str, bytes, range, type(None), type(...), type(NotImplemented),
     types.ModuleType, types.BuiltinFunctionType, types.CodeType)
)
_REBINDS_GLOBALS = frozenset((opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]))
_REBINDS_CELLS = frozenset((opmap["STORE_DEREF"], opmap["DELETE_DEREF"]))


def merge(pairs):
    """Puts carried globals into the namespace, where they don't cover a user's."""
    for name, value in pairs:
        if name not in namespace or (name in _carried and namespace[name] is _carried[name]):
            namespace[name] = _carried[name] = value


def forget_carried(name):
    """From now on what stands under this name is the user's."""
    _carried.pop(name, None)


#: Builtins that look at the frame they are called from, and what does the same for one that is called
#: from outside: there is no frame then.
frameless = {
    eval: lambda source, *names: eval(source, *names or (namespace,)),
    exec: lambda source, *names, **more: exec(source, *names or (namespace,), **more),
    globals: lambda: namespace,
    locals: lambda: namespace,
    vars: lambda *thing: vars(*thing) if thing else namespace,
    dir: lambda *thing: dir(*thing) if thing else sorted(namespace),
}


def _make_function(original, code, base_globals, *rest):
    if base_globals.get("__name__") == "__main__":
        return types.FunctionType(code, namespace, *rest)
    return original(code, base_globals, *rest)


def _function_setstate(original, function, state):
    if function.__globals__ is not namespace:
        return original(function, state)
    pairs = list(state[1].get("__globals__", {}).items())
    state[1]["__globals__"] = {}
    original(function, state)
    namespace["__builtins__"] = builtins  # cloudpickle puts a dictionary there
    _pairs.extend(pairs)
    merge(pairs)
    return None


# By the names they have in cloudpickle 1.5 and later; what is not found there stays as it is.
_REPLACED = {"_make_function": _make_function, "_function_setstate": _function_setstate}


def _evaluate(source, names):
    """eval(), noting when a Reference is looked up: its value may be another one at the next call."""
    if names is namespace:
        _pairs.append(_LOOKED_UP)
    return eval(source, names)


def sent_function(code, base, name, qualname, module, doc, defaults, kwdefaults, annotations,
                  cells, carried, modules):
    """A function that refers to constants and importable things only, as plainfunctions.py of the
    client writes it."""
    for global_name, imported in modules.items():
        __import__(imported)
        carried[global_name] = sys.modules[imported]
    names = namespace if base is None else base
    function = types.FunctionType(marshal.loads(code), names, name, defaults,
                                  tuple(map(types.CellType, cells)) or None)
    function.__qualname__ = qualname
    function.__module__ = module
    function.__doc__ = doc
    function.__kwdefaults__ = kwdefaults
    function.__annotations__ = annotations
    if base is None:
        _pairs.extend(carried.items())
        merge(carried.items())
    else:
        names.update(carried, __builtins__=builtins)
    return function


class _Loader(pickle.Unpickler):
    """Unpickles functions into the namespace."""

    def find_class(self, module, name):
        if (module, name) == ("builtins", "eval"):
            return _evaluate
        if (module, name) == ("__builtin__", "__main__"):
            return namespace  # how dill writes the globals of functions of `__main__`
        if module.partition(".")[0] != "cloudpickle":
            return super().find_class(module, name)
        found = self._find_in_cloudpickle(module, name)
        replacement = _REPLACED.get(name)
        if replacement is None:
            return found
        return lambda *arguments: replacement(found, *arguments)

    def _find_in_cloudpickle(self, module, name):
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError as error:
            if error.name != "cloudpickle":
                raise
            raise ModuleNotFoundError(
                "this was sent by value, for which the engines' Python "
                f"({sys.executable or 'built in'}) needs the package cloudpickle", name=error.name
            ) from None
        except AttributeError:
            # Version 3 has joined the two modules of version 2; the client may have the newer.
            return super().find_class("cloudpickle.cloudpickle_fast", name)


def _load(data, buffers=()):
    return _Loader(io.BytesIO(data), buffers=buffers).load()


def load(data, buffers=()):
    """The value of a pickle."""
    try:
        return _load(data, buffers)
    finally:
        _pairs.clear()  # whose they are matters for functions only


def load_callable(data):
    """(callable, globals that it carried, whether it may be kept for the next call)."""
    try:
        function = _load(data)
        pairs = tuple(_pairs)
    finally:
        _pairs.clear()
    # What is found by name is found again quickly, and may have been reloaded meanwhile.
    may_keep = (
        type(function) is types.FunctionType
        and not _is_by_reference(function)
        and _is_constant(function, set())
        and _LOOKED_UP not in pairs
        and all(_is_constant(value, set()) for _, value in pairs)
    )
    return function, pairs, may_keep


def _is_by_reference(function):
    module = sys.modules.get(function.__module__)
    return function.__globals__ is not namespace and \
        getattr(module, "__dict__", None) is function.__globals__


def _is_constant(value, seen):
    """True when no call can change it: only then one copy serves several calls.

    A call gets what was sent, not what an earlier call has made of it.
    """
    kind = type(value)
    if kind in _ATOMS or isinstance(value, type):
        return True
    if id(value) in seen:
        return True
    seen.add(id(value))
    if kind is tuple or kind is frozenset:
        return all(_is_constant(item, seen) for item in value)
    if kind is types.FunctionType:
        return _is_by_reference(value) or _is_constant_function(value, seen)
    return False


def _is_constant_function(function, seen):
    held = list(function.__defaults__ or ())
    held += (function.__kwdefaults__ or {}).values()
    held += vars(function).values()
    if function.__closure__ and _has_any(function.__code__, _REBINDS_CELLS):
        return False
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not filled: a later use will say so
            pass
    if function.__globals__ is not namespace:  # its own, so nobody else sees it change
        if _has_any(function.__code__, _REBINDS_GLOBALS):
            return False
        held += [v for k, v in function.__globals__.items() if k != "__builtins__"]
    return all(_is_constant(value, seen) for value in held)


def _has_any(code, instructions):
    """Whether some code, or the functions within it, has one of these instructions."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return not instructions.isdisjoint(code.co_code[::2]) or \
        any(_has_any(c, instructions) for c in inner)


_pickler = "cloudpickle"


def use(name):
    """From now on this does what plain pickle can't: 'cloudpickle', 'dill' or 'pickle' (nothing)."""
    global _pickler
    if name != "pickle":
        __import__(name)
    _pickler = name


#: pcluster.can_map of this process: what is pickled instead of objects of a type.
can_map: dict = {}


class _Buffer:
    """Becomes a copy of a bytes object or bytearray, or a memoryview of what arrived."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        value = self.value
        if type(value) is not memoryview:
            return (type(value), (pickle.PickleBuffer(value),))
        flat = value.cast("B") if value.c_contiguous else memoryview(value.tobytes())
        if value.format == "B" and value.ndim == 1:
            return (memoryview, (pickle.PickleBuffer(flat),))
        return (memoryview.cast, (_Buffer(flat), value.format, value.shape))


def _dump_with(kind, value, large, buffer_callback):
    """Puts the large buffers first and makes the memo know them: pickle would copy or refuse them."""
    file = io.BytesIO()
    if can_map:
        from pcluster.serialize.picklers import canning  # whoever has filled can_map has the package
        kind = canning(kind)
    pickler = kind(file, protocol=5, buffer_callback=buffer_callback)
    if large:
        stand_ins = {id(item): _Buffer(item) for item in large}
        pickler.dump(list(stand_ins.values()))
        memo = pickler.memo.copy()
        for name, stand_in in stand_ins.items():
            memo[name] = (memo.pop(id(stand_in))[0], stand_in.value)
        pickler.memo = memo
        file.seek(-1, io.SEEK_END)
        file.write(pickle.POP)
    pickler.dump(value)
    return file.getvalue()


def plain(value, large, buffer_callback):
    """Pickles a value with large bytes objects, bytearrays or memoryviews in it, or under can_map."""
    return _dump_with(pickle.Pickler, value, large, buffer_callback)


def _dump_by_value(value, large, buffer_callback):
    if _pickler == "pickle":
        raise ImportError("not wanted", name=_pickler)
    if _pickler == "dill":
        import dill
        if not (can_map or large):
            return dill.dumps(value, 5, buffer_callback=buffer_callback)
        return _dump_with(dill.Pickler, value, large, buffer_callback)
    import cloudpickle
    return _dump_with(cloudpickle.CloudPickler, value, large, buffer_callback)


def dump(value, large, buffer_callback, plain_error):
    """Pickles what plain pickle can't, or only by the name it has in our own `__main__`."""
    reason = plain_error
    try:
        return _dump_by_value(value, large, buffer_callback)
    except ImportError as error:
        if error.name != _pickler:
            reason = error
    except Exception as error:
        reason = error
    if reason is None:
        return None  # what plain pickle made must do
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else \
        f"{kind.__module__}.{kind.__qualname__}"
    raise pickle.PicklingError(
        f"a result of type '{name}' can't be sent back: {type(reason).__name__}: {reason}"
    ) from None


def clear():
    """Forgets whose the names in the namespace were."""
    _carried.clear()
