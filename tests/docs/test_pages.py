"""Every block of code in the documentation runs, in the order of its page, against a running broker and bank.

How to write a page: a block sees what earlier blocks of its language have defined. Each language runs on its own.
`http://127.0.0.1:8000`, `brk_…`, `ses_…` and `con_…` are replaced by the values of the run (`Stage.substitute`). A
comment between two blocks, such as `<!-- the user logs in -->`, is an action (`ACTIONS`). JSON must be well-formed;
after `<!-- the answer -->` it must have the shape of the last output of the shell. JavaScript needs Node.
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
from tests.docs.pages import Action, Block, blocks, pages, steps
from tests.docs.shapes import require_same_shape
from tests.docs.stage import Stage

# The program that each language needs.
RUN = {"sh": "curl", "python": None, "sql": None, "js": "node"}
NOT_CODE = {"json", "mermaid", "text"}
_ANSWER = "the answer"
_REFUSED = "the answer is an error"


def pages_with_languages() -> list[tuple[str, str]]:
    """Return each page with each language of its blocks that are run."""
    return [
        (page, language)
        for page in pages()
        for language in RUN
        if any(block.language == language and (page, block.opening) not in NOT_RUN for block in blocks(page))
    ]


def test_every_block_names_its_language() -> None:
    unknown = [str(block) for page in pages() for block in blocks(page) if block.language not in {*RUN, *NOT_CODE}]
    assert unknown == [], f"write one of {sorted({*RUN, *NOT_CODE})} after the fence"


def test_every_block_that_is_not_run_exists() -> None:
    existing = {(page, block.opening) for page in pages() for block in blocks(page)}
    assert NOT_RUN.keys() - existing == set(), "the block is gone; remove it from tests/docs/not_run.py"


@pytest.mark.parametrize("page", pages())
def test_json_is_well_formed(page: str) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.code)


@pytest.mark.parametrize(("page", "language"), pages_with_languages())
async def test_the_code_of_a_page_runs(page: str, language: str, stage: Stage, tmp_path: Path) -> None:
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
            if isinstance(step, Action) and step.name in (_ANSWER, _REFUSED):
                expected = step.name
            elif isinstance(step, Action):
                await stage.perform(step)
            elif step.language == language and (page, step.opening) not in NOT_RUN:
                stage.latest_output = await runner.run(step, stage.substitute(step.code), refused=expected == _REFUSED)
                stage.output += stage.latest_output
                expected = ""
            elif language == "sh" and step.language == "json" and expected == _ANSWER:
                require_same_shape(str(step), json.loads(step.code), _json_in(step, stage.latest_output))
                expected = ""


def _json_in(block: Block, output: str) -> Any:
    """Return the JSON in the output, which may begin with the headers of a response."""
    start = re.search(r"^[\[{]", output, re.MULTILINE)
    assert start, f"{block}: there is no JSON in the output before it:\n{output}"
    return json.JSONDecoder().raw_decode(output[start.start() :])[0]
