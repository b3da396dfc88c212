# SPDX-License-Identifier: BSD-3-Clause
"""What a task displays: objects in all the forms that they offer, on their way to the client.

The forms are those of IPython, `_repr_html_` and its relatives, and IPython is not needed for them.
Where user code has it, its display() becomes ours; for code of notebooks that imports nothing, ours is
a builtin.
"""

import binascii
import builtins
import importlib.util
import json
import sys
import threading

import pcluster_engine

_FORMS = (
    ("text/html", "_repr_html_"), ("text/markdown", "_repr_markdown_"), ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"), ("image/png", "_repr_png_"), ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"), ("application/javascript", "_repr_javascript_"),
    ("application/pdf", "_repr_pdf_"),
)
_TEXTS = (str, bytes)
_IPYTHON = "IPython.core.display_functions"
#: One display is at most so large: a client keeps twice that of a task.
_BYTES_MAX = 8 << 20

_lock = threading.Lock()


def _method(value, name):
    """A method of the object's class: the object itself may offer any name, as a module does."""
    found = getattr(type(value), name, None)
    return None if found is None else found.__get__(value)


def _plain(form):
    """A form as JSON has it: bytes in base64."""
    return binascii.b2a_base64(form, newline=False).decode() if isinstance(form, bytes) else form


def _add(data, metadata, kind, form):
    """Adds what a method has returned: a form, or that and what there is to say about it."""
    if isinstance(form, tuple) and len(form) == 2:
        form, about = form
        if about:
            metadata[kind] = about
    if isinstance(form, _TEXTS) or (kind == "application/json" and form is not None):
        data[kind] = _plain(form)


def _bundle_of(value):
    """What _repr_mimebundle_ says: forms, and what there is to say about them."""
    make = _method(value, "_repr_mimebundle_")
    found = make(include=None, exclude=None) if make else None
    data, metadata = found if isinstance(found, tuple) else (found, None)
    return {kind: _plain(form) for kind, form in (data or {}).items()}, dict(metadata or {})


def representations(value):
    """(forms by MIME type, metadata) of an object: as text, and in the richer forms that it offers."""
    data, metadata = {}, {}
    for kind, name in _FORMS:
        try:
            make = _method(value, name)
            _add(data, metadata, kind, make() if make else None)
        except Exception:  # the others must do
            continue
    try:
        more, about = _bundle_of(value)
        data.update(more)
        metadata.update(about)
    except Exception:
        pass
    data.setdefault("text/plain", repr(value))
    return data, metadata


#: `publish` of a thread whose code was not sent as a task: of a kernel, see pcluster/kernel.py.
elsewhere = threading.local()


def publish_display_data(data, metadata=None, *_args, **_options):
    """Sends forms of an object to the client.

    Raises:
        TypeError: one of them is neither text nor bytes nor what JSON has
        ValueError: they are too large
    """
    if hasattr(elsewhere, "publish"):
        elsewhere.publish(data, metadata)
        return
    forms = {kind: _plain(form) for kind, form in data.items()}
    line = json.dumps({"data": forms, "metadata": metadata or {}}).encode() + b"\n"
    if len(line) > _BYTES_MAX:
        raise ValueError(f"what is displayed makes {len(line)} bytes, and at most {_BYTES_MAX} are possible")
    with _lock:
        pcluster_engine.display(line)


def _show(value, include, exclude, metadata, options):
    own = _method(value, "_ipython_display_")
    if own:
        own(**options)
        return
    data, about = representations(value)
    wanted = {kind: form for kind, form in data.items()
              if (not include or kind in include or kind == "text/plain") and kind not in (exclude or ())}
    publish_display_data(wanted, {**about, **(metadata or {})})


def display(*objs, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False,
            clear=False, update=False, **options):
    """IPython's display(): shows objects where the client is."""
    for value in objs:
        if raw:
            publish_display_data(value, metadata)
        else:
            _show(value, include, exclude, metadata, options)
    if display_id is None or update or _IPYTHON not in sys.modules:
        return None
    return sys.modules[_IPYTHON].DisplayHandle(None if display_id is True else display_id)


class _Hook:
    """Waits until user code imports IPython's display()."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """As importlib wants it."""
        if name != _IPYTHON:
            return None
        sys.meta_path.remove(_Hook)
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        load = spec.loader.exec_module

        def load_and_adopt(module):
            load(module)
            _adopt(module)

        spec.loader.exec_module = load_and_adopt
        return spec


def _adopt(module):
    module.display = display
    module.publish_display_data = publish_display_data


def install():
    """Makes display() ours. Call once, in the engine."""
    builtins.display = display
    if _IPYTHON in sys.modules:  # the preload was faster
        _adopt(sys.modules[_IPYTHON])
        for name in ("IPython.display", "IPython.core.display"):
            if hasattr(sys.modules.get(name), "display"):
                _adopt(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Hook)
