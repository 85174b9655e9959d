"""Every Lua file says what it reads, takes, returns and keeps, and these tests hold it to that."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from flashd.domain.delivery import ClaimCode, FinishCode
from flashd.domain.order import AcceptCode
from flashd.domain.reservation import HoldCode
from flashd.store.scripts import expand, load, parse_header, read_source, script_names

NAMES = script_names()
WHOLE = {name: load(name).source for name in NAMES}
CODE_ENUMS: dict[str, set[str]] = {
    "accept": {*AcceptCode, "again"},
    "claim": {*ClaimCode},
    "finish": {*FinishCode},
}
HOLD_SCRIPTS = ("hold", "extend", "release")


def code_of(source: str) -> str:
    """The source without comments."""
    return re.sub(r"--[^\n]*", "", source)


def own_code(name: str) -> str:
    """The code of the script's own file, without its fragments."""
    return code_of(read_source(name))


def literals(source: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", source))


def answered(source: str) -> set[str]:
    """Codes that a body answers with: returned alone, first in a returned list, or handed to reply_of and left_of."""
    found = set(re.findall(r"return (?:\{ )?'(\w+)'", source))
    found |= set(re.findall(r"reply_of\('(\w+)'", source)) | set(re.findall(r"left_of\('(\w+)'", source))
    for choice in re.findall(r"return \{ ([^\n]*? and '\w+' or '\w+'),", source):
        found |= set(re.findall(r"(?:and|or) '(\w+)'", choice))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_header_is_of_the_house_s_form(name: str) -> None:
    header = load(name).header
    assert header.sentence.endswith(".")
    assert header.keeps
    assert header.clock.partition(",")[0] in {"server", "none"}
    assert [index for index, *_ in header.keys] == numbered(len(header.keys), [index for index, *_ in header.keys])
    assert [index for index, *_ in header.args] == numbered(len(header.args), [index for index, *_ in header.args])


def numbered(count: int, given: list[str]) -> list[str]:
    """Say 1, 2, 3 and so on; only the last may stand for all that follow."""
    last = [f"{count}.."] if given and given[-1].endswith("..") else [str(count)]
    return [str(number) for number in range(1, count)] + last if count else []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("list_name", ["KEYS", "ARGV"])
def test_the_body_uses_every_index_that_it_declares_and_none_else(name: str, list_name: str) -> None:
    header, code = load(name).header, code_of(WHOLE[name])
    declared = header.keys if list_name == "KEYS" else header.args
    fixed = {int(index) for index, *_ in declared if not index.endswith("..")}
    used = {int(number) for number in re.findall(rf"{list_name}\[(\d+)\]", code)}
    assert used - fixed <= {len(declared)}
    untouched = {int(index) for index, *_, meaning in declared if "not touched" in meaning}
    assert fixed - used <= untouched
    many = any(index.endswith("..") for index, *_ in declared)
    assert many == bool(re.search(rf"{list_name}\[(?:\d+ |[^\d\]])|#{list_name}", code))


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_built_in_the_body(name: str) -> None:
    code = code_of(WHOLE[name])
    for match in re.finditer(r"redis\.call\(\s*'(\w+)', *([^,)\n]+)", code):
        verb, key = match[1], match[2].strip()
        if verb in {"TIME", "PUBLISH"} or key.startswith("'STREAM'"):
            continue
        assert ".." not in key, match[0]
        assert "'" not in key, match[0]


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_is_taken_for_a_number_unchecked(name: str) -> None:
    code = code_of(WHOLE[name])
    signed = "string.find(ARGV[index], '^%-?%d+$')" in code  # trim: differences may be negative
    assert signed or not re.search(r"tonumber\(ARGV", code)
    assert "cjson.decode" not in code


@pytest.mark.parametrize("name", NAMES)
def test_time_is_the_server_s_where_the_header_says_so(name: str) -> None:
    assert ("'TIME'" in WHOLE[name]) == load(name).header.clock.startswith("server")


@pytest.mark.parametrize("name", NAMES)
def test_every_code_in_the_header_stands_in_the_body(name: str) -> None:
    assert load(name).header.codes <= literals(code_of(WHOLE[name]))


@pytest.mark.parametrize("name", NAMES)
def test_every_code_that_the_body_answers_stands_in_the_header(name: str) -> None:
    assert answered(own_code(name)) <= load(name).header.codes


@pytest.mark.parametrize("name", sorted(CODE_ENUMS))
def test_codes_and_enums_are_the_same(name: str) -> None:
    assert load(name).header.codes == {str(code) for code in CODE_ENUMS[name]}


def test_the_codes_of_holds_and_their_enum_are_the_same() -> None:
    assert set().union(*(load(name).header.codes for name in HOLD_SCRIPTS)) == {*map(str, HoldCode), "again"}


def test_every_fragment_is_used_and_commented() -> None:
    folder = resources.files("flashd.store").joinpath("lua/includes")
    names = {entry.name.removesuffix(".lua") for entry in folder.iterdir()}
    asking = [*map(read_source, NAMES), *(read_source(f"includes/{name}") for name in names)]
    used = {name for text in asking for name in re.findall(r"^-- @include (\w+)$", text, re.MULTILINE)}
    assert names == used
    assert all(read_source(f"includes/{name}").startswith("-- ") for name in names)


def test_what_a_fragment_includes_is_put_into_it_wherever_it_stands() -> None:
    texts = {"outer": "-- Outer.\n-- @include inner\nlocal o = i\n", "inner": "-- Inner.\nlocal i = 1\n"}
    assert expand("-- @include outer\nx\n-- @include inner\n", read=texts.__getitem__) == (
        "-- Outer.\n-- Inner.\nlocal i = 1\nlocal o = i\nx\n-- Inner.\nlocal i = 1\n"
    )


@pytest.mark.parametrize(("b", "way"), [("c", "a -> b -> c -> a"), ("b", "a -> b -> b")])
def test_fragments_that_include_each_other_in_a_ring_are_refused(b: str, way: str) -> None:
    texts = {name: f"-- @include {wants}\n" for name, wants in {"a": "b", "b": b, "c": "a"}.items()}
    with pytest.raises(ValueError, match=f"ring: {way}$"):
        expand("-- @include a\n", read=texts.__getitem__)


def test_no_script_has_an_include_left() -> None:
    assert not [name for name in NAMES if "@include" in WHOLE[name]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-- other -- A sentence.\n", "first line"),
        ("-- x -- A sentence.\n-- RETURNS 1\n-- KEYS[1] a HASH b\n-- KEEPS c\n-- CLOCK none\n", "in this order"),
        ("-- x -- A sentence.\n-- KEYS[1] a\n-- RETURNS 1\n-- KEEPS c\n-- CLOCK none\n", "KEYS line"),
        ("-- x -- A sentence.\n-- KEYS[1] a HASH b\n-- KEEPS c\n-- CLOCK none\n", "wants KEYS"),
        ("-- x -- A sentence.\n-- NOTE hello\n", "none of"),
    ],
)
def test_a_header_of_another_form_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_header("x", text)
