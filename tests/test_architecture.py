"""The shape of the code that a newcomer relies on. pyproject.toml has the contract on who may import whom."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
MAX_LINES, MAX_FUNCTION_LINES, MAX_MODULES, MAX_COLLABORATORS, MAX_PATH = 300, 50, 25, 6, 6
# Flat lists without logic, looked up by name.
FLAT_LISTS = ("app/settings.py", "app/store/tables.py")
# What builds everything, what hands it to endpoints, and what only knows shapes of data: no call reaches SQL by these.
NOT_ON_THE_WAY = (
    *("app.runtime", "app.core", "app.api.dependencies", "app.api.request_context", "app.api.schemas", "app.spool"),
)


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("app", cache_dir=None)


@cache
def sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "app").rglob("*.py"))}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = sorted(graph().modules)
    waiting = {module: set(graph().find_modules_directly_imported_by(module)) for module in modules}
    while free := [module for module, imported in waiting.items() if not imported & waiting.keys()]:
        for module in free:
            del waiting[module]
    assert not waiting, f"these import each other in a circle: {sorted(waiting)}"


def test_every_file_can_be_read_in_one_sitting() -> None:
    too_long = {
        path: len(text.splitlines())
        for path, text in sources().items()
        if path not in FLAT_LISTS and len(text.splitlines()) > MAX_LINES
    }
    assert too_long == {}


def test_every_function_fits_on_a_screen() -> None:
    too_long = {
        f"{path}:{function.lineno} {function.name}": length
        for path, text in sources().items()
        for function in functions(ast.parse(text))
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert too_long == {}


def test_every_folder_can_be_overlooked() -> None:
    folders = {path.rpartition("/")[0] for path in sources()}
    sizes = {folder: sum(path.rpartition("/")[0] == folder for path in sources()) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_no_constructor_needs_many_collaborators() -> None:
    """A collaborator is a parameter whose type is a class of the broker; settings and plain values are none."""
    classes = {
        node.name for text in sources().values() for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)
    }
    found = {}
    for path, text in sources().items():
        for function in functions(ast.parse(text)):
            if function.name == "__init__":
                arguments = [*function.args.args, *function.args.kwonlyargs]
                names = [set(ast.unparse(one.annotation or one).split()) for one in arguments]
                if (count := sum(bool(one & classes) for one in names)) > MAX_COLLABORATORS:
                    found[f"{path}:{function.lineno}"] = count
    assert found == {}


def test_the_way_from_an_endpoint_to_sql_is_short() -> None:
    sys.setrecursionlimit(10_000)

    @cache
    def longest(module: str) -> tuple[str, ...]:
        """Return the longest chain of imports from a module into the store, itself included."""
        if module.startswith("app.store.") and not module.startswith("app.store.postgresql."):
            return (module,)
        chains = [
            longest(imported)
            for imported in graph().find_modules_directly_imported_by(module)
            if not imported.startswith(NOT_ON_THE_WAY)
        ]
        chain = max(filter(None, chains), key=len, default=())
        return (module, *chain) if chain else ()

    endpoints = [module for module in graph().modules if module.startswith(("app.api.routes.", "app.api.query."))]
    assert len(endpoints) > 10
    too_long = [" -> ".join(chain) for chain in map(longest, endpoints) if len(chain) > MAX_PATH]
    assert too_long == []
