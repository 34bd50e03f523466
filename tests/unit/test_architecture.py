"""The page about the architecture and the code agree."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TREE = PAGE.split("## The rooms")[1].split("```")[1]
DOMAIN = ROOT / "include" / "accidents"
LONGEST_MODULE = 400  # lines
LONGEST_FUNCTION = 40
LONGEST_CHAIN = 7  # imports, one after another, that importing a module leads to
TABLES_OF_FACTS = {"data/columns.py"}


def rooms() -> dict[str, str]:
    """Return what the page says of each folder of the domain, by its name."""
    inside = TREE.split("include/accidents/")[1].split("\napi/")[0]
    return dict(re.findall(r"^  (\w+)/ +(.+)$", inside, re.MULTILINE))


def test_the_page_names_every_room_and_no_other() -> None:
    there = {path.name for path in DOMAIN.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert there == set(rooms())


def test_every_path_of_the_page_is_there() -> None:
    tops = re.findall(r"^([\w./]+)  ", TREE, re.MULTILINE)
    assert len(tops) > 8
    assert [path for path in tops if not (ROOT / path).exists()] == []


def test_the_modules_that_the_page_names_in_a_room_are_there() -> None:
    for room, text in rooms().items():
        listed = text.rpartition(": ")[2] if ": " in text else ""
        for name in re.findall(r"\w+", listed):
            assert (DOMAIN / room / f"{name}.py").exists(), f"{room}/{name}.py"


def test_no_module_is_too_long_to_read() -> None:
    lines = {str(path.relative_to(DOMAIN)): len(path.read_text("utf-8").splitlines()) for path in DOMAIN.rglob("*.py")}
    assert {name for name, count in lines.items() if count > LONGEST_MODULE} <= TABLES_OF_FACTS


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


def test_no_function_is_too_long_to_read() -> None:
    found = {}
    for top in ("include", "api", "ops", "dags", "plugins"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{path.relative_to(ROOT)}:{node.name}"] = code_lines(node)
    assert {name: count for name, count in found.items() if count > LONGEST_FUNCTION} == {}


def imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the domain that a module imports when it is imported."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


def test_few_modules_stand_on_top_of_each_other() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in DOMAIN.rglob("*.py")}
    below = {name: imported(path, modules) for name, path in modules.items()}
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(below).static_order():
        chains[name] = [name, *max((chains[each] for each in below[name]), key=len, default=[])]
    longest = max(chains.values(), key=len)
    assert len(longest) > 4
    assert len(longest) - 1 <= LONGEST_CHAIN, " -> ".join(longest)
