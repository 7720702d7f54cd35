"""The package chdb, imported without opening an engine.

While it is imported, chdb opens an engine, only to read its version, and closes it again. A dozen of its threads stay. So
here the native module's first `connect` opens nothing. This does not prevent a rare crash while the native library is
loaded, whose cause is not known.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_NATIVE = "chdb._chdb"


class _NoEngine:
    """The connection that chdb asks for its version."""

    def query(self, *_: str) -> _NoEngine:
        return self

    def bytes(self) -> bytes:
        return b'"not read"\n'

    def close(self) -> None:
        pass


class _Native(Loader, MetaPathFinder):
    """Finds and loads the native module, and replaces its `connect` until `restore`."""

    def __init__(self) -> None:
        self._loader: Loader | None = None
        self._module: ModuleType | None = None
        self._connect: Any = None

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _NATIVE else None
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec) if self._loader else None

    def exec_module(self, module: ModuleType) -> None:
        if self._loader:
            self._loader.exec_module(module)
        self._module, self._connect = module, module.connect
        module.connect = lambda *_: _NoEngine()  # type: ignore[attr-defined]

    def restore(self) -> None:
        if self._module is not None:
            self._module.connect = self._connect  # type: ignore[attr-defined]


def _imported() -> Any:
    native = _Native()
    sys.meta_path.insert(0, native)
    try:
        return importlib.import_module("chdb")
    finally:
        sys.meta_path.remove(native)
        native.restore()


chdb = _imported()
