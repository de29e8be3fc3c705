"""Pages of the documentation, and the examples in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
PAGES: Final = [README, ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED: Final = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
IN_A_LINE: Final = re.compile(r"`([^`\n]+)`")
# An example of the command, as it stands in a line of code: variables before it, a comment behind it.
EXAMPLE: Final = re.compile(r"^((?:[A-Z_]+=\S+ )*)(?:\.venv/bin/)?gearmand-py( [^#\n]*?)? *(?:#.*)?$", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """The text under a heading."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [block for found, block in FENCED.findall(text) if found == language]


def code(text: str) -> Iterator[str]:
    """All code that a reader could type: blocks and words in a line."""
    yield from (block for language, block in FENCED.findall(text) if language in {"", "sh"})
    prose = FENCED.sub("", text)
    yield from (re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in INDENTED.findall(prose))
    yield from IN_A_LINE.findall(INDENTED.sub("", prose))


def examples(text: str) -> Iterator[tuple[str, str]]:
    """Each example of the command: the variables before it, and the words behind it."""
    for piece in code(text):
        for variables, words in EXAMPLE.findall(piece):
            yield variables, words.strip()
