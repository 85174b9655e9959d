"""The pages tell the truth: links lead somewhere, commands and options exist, examples of configuration load."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flashd.cli import cli
from flashd.config import load
from flashd.plugins import backend_kinds, channel_kinds

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted(ROOT.glob("flashd/**/*.py"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHOWN = re.compile(r"`(flashd [a-z][^`]*)`")


def of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }


def fences(page: Path, language: str) -> Iterator[str]:
    for indent, kind, body in FENCE.findall(page.read_text()):
        if kind == language:
            yield textwrap.dedent(indent + body) if indent else body


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_link_within_the_tree_resolves(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{of(page)}: {link}"
        assert not anchor or anchor in headings(target), f"{of(page)}: {link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_page_named_in_words_is_there(page: Path) -> None:
    for name in re.findall(r"(?<![\w/])((?:docs|config|systemd|tests|flashd)/[\w./-]+\.[a-z]+)\b", page.read_text()):
        assert (ROOT / name).exists() or (ROOT / "flashd" / name).exists(), f"{of(page)}: {name}"


def test_every_test_that_a_promise_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", (ROOT / "docs" / "promises.md").read_text())
    assert len(named) > 10
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_the_index_of_the_docs_names_every_page() -> None:
    linked = {(ROOT / "docs" / link).resolve() for link in LINK.findall((ROOT / "docs" / "README.md").read_text())}
    pages = {page for page in PAGES if page.parent != ROOT and page.name != "README.md" and page.parent.name != "adr"}
    assert pages <= linked, sorted(of(page) for page in pages - linked)


def shown_commands() -> Iterator[tuple[str, str]]:
    for file in [*PAGES, *SOURCES, ROOT / "config" / "flashd.toml"]:
        text = file.read_text()
        yield from ((of(file), command) for command in SHOWN.findall(text))
        if file.suffix == ".md":
            for body in (body for language in ("", "sh") for body in fences(file, language)):
                yield from ((of(file), line) for line in re.findall(r"(?m)^(?:\S*/)?(flashd [a-z].*)$", body))


def commands_of(shown: str) -> Iterator[list[str]]:
    """Split what is shown: `flashd dead list / show` are two commands; brackets and comments are for readers."""
    words = shlex.split(re.sub(r"[\[\]]", "", shown), comments=True)[1:]
    words = [word.rstrip(",;") for word in words]
    if "/" not in words:
        yield words
        return
    head = words[: words.index("/") - 1]
    for alternative in " ".join(words[len(head) :]).split(" / "):
        yield [*head, *alternative.split()]


@pytest.mark.parametrize(("where", "shown"), sorted(set(shown_commands())))
def test_every_command_that_is_shown_exists_with_its_options(where: str, shown: str) -> None:
    for words in commands_of(shown):
        command: click.Command = cli
        context = click.Context(cli, info_name="flashd")
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            found = command.get_command(context, name)
            assert found is not None, f"{where}: {shown}: there is no {name!r}"
            command, context = found, click.Context(found, parent=context, info_name=name)
        known = {"--help", "-h"} | {name for option in command.params for name in option.opts}
        for word in words:
            option = word.partition("=")[0]
            assert not word.startswith("-") or word == "-" or option in known, f"{where}: {shown}: no option {option}"
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        assert arguments or not words or words[0].startswith("-"), f"{where}: {shown}: it takes no {words[0]!r}"


def examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for body in fences(page, "toml"):
            if "[project" not in body:
                yield of(page), body


@pytest.mark.parametrize("uncommented", [False, True], ids=["as it stands", "every key"])
@pytest.mark.parametrize(("page", "example"), list(examples()))
def test_every_example_of_configuration_loads(tmp_path: Path, page: str, example: str, *, uncommented: bool) -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", example) if uncommented else example
    for name in re.findall(r'(?:file|cert|key) = "([^"]+)"', text):
        (tmp_path / name).write_text("a-secret-of-the-test-0123456789")
        (tmp_path / name).chmod(0o600)
    backends = re.findall(r"(?m)^\[backends\.(\w+)\]", text)
    if backends and "[[routes]]" not in text:
        text += f'\n[[routes]]\nbackend = "{backends[0]}"\n'
    file = tmp_path / "flashd.toml"
    file.write_text(text)
    loaded = load(file, environ={}, channel_kinds=channel_kinds(), backend_kinds=backend_kinds())
    assert [warning for warning in loaded.warnings if "credential" not in warning and "no route" not in warning] == []


def glossary() -> list[list[str]]:
    rows = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[1:]]


def test_the_glossary_has_each_word_once_and_says_what_it_means() -> None:
    words = [row[0] for row in glossary()]
    assert len(words) == len(set(words))
    assert all(len(row) == 3 and row[1] for row in glossary())


@pytest.mark.parametrize("word", [row[0] for row in glossary()])
def test_a_word_of_the_glossary_is_used(word: str) -> None:
    text = "\n".join(
        [file.read_text().lower() for file in [*SOURCES, *ROOT.glob("flashd/store/lua/**/*.lua")]]
        + [page.read_text().lower() for page in PAGES if page.name != "glossary.md"]
    )
    plain = re.sub(r"\(.*?\)", "", word)
    for each in re.split(r",| / ", plain):
        term = each.strip().lower()
        assert re.search(rf"\b{term.replace(' ', '[ _-]')}", text), term
