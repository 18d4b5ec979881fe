"""Imports run one way: what a room may use of the others."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "amrlib"
BELOW = {"checks", "datasets", "device", "evaluation", "progress", "protocols"}
MAY_USE = {
    "features": {"checks", "device", "features", "progress", "shipped"},
    "datasets": {"atomic_files", "checks", "datasets", "device", "features", "progress", "shipped"},
    "evaluation": BELOW,
    "training": BELOW | {"negatives", "tensor_files", "training"},
    "models": BELOW | {"models", "recommender", "training"},
    "parallel": BELOW | {"adversary", "parallel", "training"},
    "pixels": BELOW | {"adversary", "atomic_files", "features", "pixels"},
    "adversary": BELOW | {"adversary", "negatives", "training"},  # which knows models by their protocol alone
}


def rooms_used(path: Path) -> set[str]:
    """The first names below amrlib that a file imports, at its top or inside a function."""
    package = path.relative_to(LIBRARY).parts[:-1]
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            here = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            used |= {name for name in here[:1] if name} or {alias.name for alias in node.names}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            used |= {name.split(".")[1] for name in names if name.startswith("amrlib.")}
    return used


@pytest.mark.parametrize("room", MAY_USE)
def test_a_room_uses_only_what_lies_below_it(room):
    for path in (LIBRARY / room).rglob("*.py"):
        assert rooms_used(path) <= MAY_USE[room], path.name
