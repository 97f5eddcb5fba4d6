"""Every block of code in the documentation runs, in the order of its page, against a running broker and bank.

How a page is written: what a block defines is there for the next of its language; each language walks the page by
itself. `http://127.0.0.1:8000`, `brk_…`, `ses_…`, `con_…` stand for what is true (`Stage.substitute`). A comment
between two blocks, `<!-- the user logs in -->`, says what somebody else does there (`DEEDS`). JSON is well-formed;
after `<!-- the answer -->` it has the shape of what the shell printed last. Node runs the JavaScript where it is there.
"""

import json
import re
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.docs.languages import Language, Python, Sql, javascript, shell
from tests.docs.not_run import NOT_RUN
from tests.docs.pages import Block, Deed, blocks, pages, steps
from tests.docs.shapes import require_same_shape
from tests.docs.stage import Stage

# With the program that each needs.
RUN = {"sh": "curl", "python": None, "sql": None, "js": "node"}
NOT_CODE = {"json", "mermaid", "text"}
_ANSWER = "the answer"
_REFUSED = "the answer is an error"


def walks() -> list[tuple[str, str]]:
    """Return each page with each language that it has blocks of, which are to be run."""
    return [
        (page, language)
        for page in pages()
        for language in RUN
        if any(block.language == language and (page, block.opening) not in NOT_RUN for block in blocks(page))
    ]


def test_every_block_says_its_language() -> None:
    unknown = [str(block) for page in pages() for block in blocks(page) if block.language not in {*RUN, *NOT_CODE}]
    assert unknown == [], f"write one of {sorted({*RUN, *NOT_CODE})} after the fence"


def test_what_is_not_run_is_there() -> None:
    there = {(page, block.opening) for page in pages() for block in blocks(page)}
    assert NOT_RUN.keys() - there == set(), "the block is gone; take it out of tests/docs/not_run.py"


@pytest.mark.parametrize("page", pages())
def test_json_is_well_formed(page: str) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.code)


@pytest.mark.parametrize(("page", "language"), walks())
async def test_a_page_does_what_it_says(page: str, language: str, stage: Stage, tmp_path: Path) -> None:
    program = RUN[language]
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    async with AsyncExitStack() as stack:
        runner: Language = Python()
        if language == "sh":
            runner = await stack.enter_async_context(shell(tmp_path, stage.settings))
        elif language == "sql":
            runner = Sql(stage.operators_database.get_secret_value())
        elif language == "js":
            runner = await stack.enter_async_context(javascript(tmp_path))
        expected = ""
        for step in steps(page):
            if isinstance(step, Deed) and step.name in (_ANSWER, _REFUSED):
                expected = step.name
            elif isinstance(step, Deed):
                await stage.perform(step)
            elif step.language == language and (page, step.opening) not in NOT_RUN:
                stage.latest = await runner.run(step, stage.substitute(step.code), refused=expected == _REFUSED)
                stage.said += stage.latest
                expected = ""
            elif language == "sh" and step.language == "json" and expected == _ANSWER:
                require_same_shape(str(step), json.loads(step.code), _answer_in(step, stage.latest))
                expected = ""


def _answer_in(block: Block, said: str) -> Any:
    """Return the JSON that was printed, behind the head of a response or alone."""
    found = re.search(r"^[\[{]", said, re.MULTILINE)
    assert found, f"{block}: no JSON was printed before it, but\n{said}"
    return json.JSONDecoder().raw_decode(said[found.start() :])[0]
