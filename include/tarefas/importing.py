"""Imports the files of the folder of automations, from exactly the bytes that the catalog has read.

They are modules of the package `automacoes`, so that `email.py` in the folder does not replace Python's own module. A file
may use another one of the folder:

    from .prices import discount        # also from . import prices
    from prices import discount         # unless Python, or an installed package, has a module of this name

Both forms give the same module. The files, and what they import, are imported again for each call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

from include.tarefas.catalog import Catalog, Module
from include.tarefas.errors import RequestError

NAMESPACE = "automacoes"
"""The name of the package."""


def load(module: Module) -> ModuleType:
    """Import a file, within `Files`."""
    return import_module(f"{NAMESPACE}.{module.name}")


class Files(MetaPathFinder):
    """Lets a `with` block import the files of the catalog, by their names in the package and by their bare names.

    No `@contextmanager`, which would write into an exception that passes: a frozen one takes nothing.
    """

    def __init__(self, known: Catalog) -> None:
        self._files = {module.name: module for module in (*known.modules, *known.helpers)}
        self._imported: set[str] = set()

    def __enter__(self) -> None:
        self._before = dict(sys.modules)
        package = ModuleType(NAMESPACE)
        package.__path__ = []
        sys.modules[NAMESPACE] = package
        # First, because a folder on Python's path counts as a package of its name, even if it has no code.
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        for name in (*self._imported, NAMESPACE):
            sys.modules.pop(name, None)
            if name in self._before:
                sys.modules[name] = self._before[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package == NAMESPACE:
            file = self._files.get(name)
            if file is None:
                # Python's own error would be retried.
                raise RequestError(f"there is no file {name}.py in the folder of automations, to import from")
            if file.error:
                raise RequestError(f"{name}.py can't be imported: {file.error}")
            loader: Loader = _FileLoader(file)
        elif not package and fullname in self._files and not self._is_elsewhere(fullname):
            loader = _SameModule(f"{NAMESPACE}.{fullname}")
        else:
            return None
        self._imported.add(fullname)
        return spec_from_loader(fullname, loader)

    def _is_elsewhere(self, name: str) -> bool:
        """Return whether Python or an installed package has a module of this name. A bare folder does not count."""
        specs = (other.find_spec(name, None) for other in sys.meta_path if other is not self)
        return any(spec is not None and spec.origin is not None for spec in specs)


class _FileLoader(SourceLoader):
    """Loads a file from the bytes that the catalog has read, never from a cache."""

    def __init__(self, module: Module) -> None:
        self._module = module

    def get_filename(self, fullname: str) -> str:
        return str(self._module.path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._module.source


class _SameModule(Loader):
    """Gives the module that has another name in the package."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has been executed; Python has just replaced this.
        module.__spec__ = self._spec
