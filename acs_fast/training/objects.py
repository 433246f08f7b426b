"""A user's own models and data by name: `package.module:factory` or `path/to/file.py:factory`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.files import DataError

KINDS = ("timm", "torchvision", "hf")  # what else stands before a colon


def names_object(source: str) -> bool:
    """Whether a source looks like `module:factory` or `file.py:factory`."""
    module, separator, name = source.rpartition(":")
    if not separator or module in KINDS:
        return False
    return name.isidentifier() and (module.endswith(".py") or is_dotted(module))


def is_dotted(name: str) -> bool:
    """Whether a name is one of a module."""
    return all(part.isidentifier() for part in name.split("."))


def refuse_code(path: Path, setting: str, source: str) -> None:
    """Raise CheckpointError where a file's setting names code: only who starts a command says what is run."""
    if names_object(source):
        raise CheckpointError(
            f"{path}: its {setting} is code of the user's own; to run that code, name it: --{setting} {source}"
        )


def find_object(source: str, option: str) -> Callable[..., Any]:
    """The factory that a source names; modules are looked for in the current folder too.

    Args:
        source: see `names_object`.
        option: that it was given to, for messages.

    Raises:
        DataError: no such module or factory, or the module fails to import; says which.
    """
    module_name, _, name = source.rpartition(":")
    try:
        module = _file(Path(module_name)) if module_name.endswith(".py") else _module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise DataError(f"{option} {source}: {module_name} cannot be imported ({error!r})") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise DataError(f"{option} {source}: {module_name} has no function or class {name}")
    return found  # type: ignore[no-any-return]


def call_with(factory: Callable[..., Any], **known: Any) -> Any:
    """Call a factory with those of the keyword arguments that it takes."""
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return factory(**known)
    return factory(**{p.name: known[p.name] for p in parameters if p.name in known})


def _module(name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # classes of the module can then be pickled for workers
    spec.loader.exec_module(module)
    return module
