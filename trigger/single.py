"""Write trigger_script.py and this package into one file that works wherever it is copied: `make trigger-single`.

    python -m trigger.single FILE

The file is trigger_script.py with the source of each module in front. At run time, the modules are imported from there, so
that tracebacks still show module and line.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DOOR = PACKAGE.with_name("trigger_script.py")
LOADER = '''
import sys
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader

# The package that this file was made of, module by module. To change it, change that.
MODULES = {
%s}


class _Modules(MetaPathFinder, ExecutionLoader):
    """Imports the modules that stand above."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name in MODULES else None

    def is_package(self, name: str) -> bool:
        return any(other.startswith(f"{name}.") for other in MODULES)

    def get_filename(self, name: str) -> str:
        return f"{__file__}/{name}"

    def get_source(self, name: str) -> str:
        return MODULES[name]


sys.meta_path.insert(0, _Modules())
'''


def modules() -> dict[str, str]:
    """Return the source of each module of the package by name, without this module."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ("trigger", *file.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(part for part in parts if part != "__init__")
        if file != Path(__file__).resolve():
            found[name] = file.read_text(encoding="utf-8")
    return found


def single() -> str:
    """Return the text of the single file."""
    door = DOOR.read_text(encoding="utf-8")
    # After its docstring and `from __future__`, which must come first.
    first = next(node for node in ast.parse(door).body if isinstance(node, ast.ImportFrom))
    lines = door.splitlines(keepends=True)
    embedded = "".join(f"    {name!r}: (\n{_quoted(text)}    ),\n" for name, text in modules().items())
    return "".join(lines[: first.end_lineno]) + LOADER % embedded + "".join(lines[first.end_lineno :])


def _quoted(text: str) -> str:
    return "".join(f"        {line!r}\n" for line in text.splitlines(keepends=True))


def main() -> None:
    """Write the file that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(single(), encoding="utf-8")
    file.chmod(0o755)


if __name__ == "__main__":
    main()
