"""Pages, docstrings and comments name files, modules and headings: all of them exist."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.api.docs.markdown import slug_of

ROOT = Path(__file__).parents[2]
_FOLDERS = r"app|tests|docs|deploy|chaos|containers|interop|benchmarks|client|sandbox|migrations|\.ci"
# `app/api/` and the like, but no part of a longer path or of a URL, and no pattern such as `docs/*.md`.
_PATH = re.compile(rf"(?<![\w./:<{{}}-])(?:\.\./)*((?:{_FOLDERS})/(?:[\w.-]+/)*[\w.-]*)(?![\w/*<{{…-])")
_MODULE = re.compile(r"(?<![\w./:@-])(?:app|sandbox|tests|chaos)(?:\.[a-z_]\w*)+(?![\w/-])")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
# `generate` writes them and git ignores them.
_GENERATED = re.compile(r"deploy/secrets/[\w-]+(\.crt)?")
# Of YAML, TOML, Makefiles, Dockerfiles and the Caddyfile.
_COMMENT = re.compile(r"(?m)(?:^|\s)# (.*)$")


def tracked(*patterns: str) -> list[str]:
    """Return the files of the repository that match."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


PAGES = tracked("*.md")
SOURCES = tracked("*.py")
CONFIGURATION = tracked("*.yml", "*.yaml", "*.toml", "Makefile", "Dockerfile", "*/Caddyfile")


def prose_of(source: str) -> Iterator[str]:
    """Yield the docstrings and comments of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def paths_in(text: str) -> set[str]:
    return {found.rstrip(".") for found in _PATH.findall(text)}


def is_there(path: str) -> bool:
    return (ROOT / path).exists() or _GENERATED.fullmatch(path) is not None


@cache
def names_of(module: Path) -> frozenset[str]:
    """Return what a module defines or imports at its top level, and the attributes of its classes."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=alias):
                found.add(alias or name)
    return frozenset(found)


def is_a_module(dotted: str) -> bool:
    """Return whether a dotted name leads to a module, or to a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
        if module is not None:
            return set(parts[length:]) <= names_of(module)
        if length == len(parts) and place.is_dir():
            return True
    return False


def missing_in(text: str) -> list[str]:
    paths = [path for path in paths_in(text) if not is_there(path)]
    modules = [name for name in set(_MODULE.findall(text)) if not is_a_module(name)]
    return sorted([*paths, *modules])


@cache
def headings_of(page: Path) -> set[str]:
    """Return the anchors of a page."""
    counts: dict[str, int] = {}
    anchors: set[str] = set()
    for title in re.findall(r"(?m)^#+ (.+)$", _FENCED.sub("", page.read_text())):
        slug = slug_of(title)
        anchors.add(slug if slug not in counts else f"{slug}-{counts[slug]}")
        counts[slug] = counts.get(slug, 0) + 1
    return anchors


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    assert missing_in((ROOT / page).read_text()) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    broken = []
    for link in _LINK.findall(_FENCED.sub("", (ROOT / page).read_text())):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in headings_of(target.resolve())):
            broken.append(link)
    assert broken == []


def test_what_docstrings_and_comments_name_exists() -> None:
    missing = {file: missing_in("\n".join(prose_of((ROOT / file).read_text()))) for file in SOURCES}
    assert {file: names for file, names in missing.items() if names} == {}


def test_what_comments_in_configuration_name_exists() -> None:
    missing = {file: missing_in("\n".join(_COMMENT.findall((ROOT / file).read_text()))) for file in CONFIGURATION}
    assert {file: names for file, names in missing.items() if names} == {}


def test_modules_that_the_import_contract_names_exist() -> None:
    named = re.findall(r'"((?:app|sandbox)(?:\.\w+)+)', (ROOT / "pyproject.toml").read_text())
    assert len(named) > 10
    assert [name for name in named if not is_a_module(name)] == []


def test_a_name_that_leads_nowhere_is_found() -> None:
    text = "See `app/services/tokens.py`, `app.services.tokens` and `tests/docs/`; not https://docs/x or `/docs/query`."
    assert missing_in(text) == ["app.services.tokens", "app/services/tokens.py"]
