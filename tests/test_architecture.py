"""The shape of the package: imports point one way, public names are declared, listing stays light."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import reground

ROOT = Path(reground.__file__).parent

#: package -> what it may import at module level or below; itself and ``errors`` always.
ALLOWED = {
    "errors": set(),
    "chat": set(),
    "phantom": set(),
    "edits": {"phantom"},
    "models": {"chat", "edits", "phantom"},
    "benchmarks": {"chat", "edits", "phantom"},
    "evaluation": {"chat", "edits", "models"},
    "reports": {"evaluation"},
    "library": {"edits", "models", "phantom"},
    "training": {"edits", "models", "phantom", "evaluation"},
    "methods": {"edits", "models", "library", "training"},
    "runner": {"edits", "models", "library", "methods", "benchmarks", "evaluation"},
    "cli": {
        "edits",
        "models",
        "library",
        "methods",
        "benchmarks",
        "evaluation",
        "runner",
        "reports",
        "training",
        "phantom",
    },
}


def _imports(file: Path) -> set[str]:
    """Second part of every ``reground.X`` a file imports, lazily or not, typing aside."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reground."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("reground.")}
    return found


def test_imports_point_one_way() -> None:
    for file in ROOT.rglob("*.py"):
        package = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if package == "__init__":
            continue
        wrong = _imports(file) - ALLOWED[package] - {package, "errors"}
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def _modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages([str(ROOT)], "reground.") if not m.ispkg]


@pytest.mark.parametrize("name", _modules())
def test_public_names_are_declared_and_exist(name: str) -> None:
    """``__all__`` holds every public class and function that a module defines and that another module imports."""
    module = importlib.import_module(name)
    declared = set(getattr(module, "__all__", ()))
    assert "__all__" in vars(module), f"{name} declares no __all__"
    assert all(hasattr(module, public) for public in declared)


def test_a_module_takes_only_public_names_from_another() -> None:
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reground.")):
                continue
            declared = set(getattr(importlib.import_module(node.module), "__all__", ()))
            for alias in node.names:
                is_module = (ROOT.parent / Path(*node.module.split("."), alias.name)).with_suffix(".py").exists()
                is_package = (ROOT.parent / Path(*node.module.split("."), alias.name)).is_dir()
                assert alias.name in declared or is_module or is_package, (
                    f"{file.relative_to(ROOT)} takes {alias.name} from {node.module}, which does not declare it"
                )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["methods", "list"],
        ["models", "list"],
        ["benchmarks", "list"],
        ["recipes", "list"],
        ["library", "--help"],
    ],
)
def test_listing_imports_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom reground.cli.main import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
