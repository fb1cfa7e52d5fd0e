"""The code has three floors, launch -> rl -> rewards: imports only go down, and never form a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("rewards", "rl", "launch")


def imports(root: Path) -> dict[str, set[str]]:
    """The modules that each module below `root` imports, including local and type-only imports."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for floor in FLOORS
        for path in (root / floor).rglob("*.py")
    }
    found = {}
    for name, path in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                modules = {f"{node.module}.{alias.name}" for alias in node.names} & files.keys()
                found[name] |= modules if len(modules) == len(node.names) else modules | {node.module}
        found[name] -= {name}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """An import circle, with its first module repeated at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def upward(graph: dict[str, set[str]]) -> list[str]:
    """The imports from a higher floor, as `importer -> imported`."""
    floor = {name: FLOORS.index(name.split(".")[0]) for name in graph}
    return [f"{name} -> {other}" for name in graph for other in graph[name] if floor[other] > floor[name]]


def test_there_are_no_import_circles():
    assert circle(imports(ROOT)) == []


def test_no_module_imports_from_a_higher_floor():
    assert upward(imports(ROOT)) == []


@pytest.mark.parametrize(
    "line", ["import rewards.b", "from rewards.b import x", "from rewards import b", "def f():\n    import rewards.b"]
)
def test_an_import_circle_is_found_however_it_is_written(tmp_path, line):
    write(tmp_path, {"rewards/a.py": line, "rewards/b.py": "if TYPE_CHECKING:\n    from rewards.a import y"})
    assert set(circle(imports(tmp_path))) == {"rewards.a", "rewards.b"}


def test_an_import_of_a_higher_floor_is_found(tmp_path):
    write(tmp_path, {"rewards/a.py": "", "rl/b.py": "import rewards.a\nfrom launch.c import main", "launch/c.py": ""})
    assert upward(imports(tmp_path)) == ["rl.b -> launch.c"]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).with_name("__init__.py").touch()
