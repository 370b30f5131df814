from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlstack.serving.pages import CONTENT_SECURITY_POLICY, FOLDER, PAGES, page_response

FORBIDDEN = re.compile(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|[\"']style[\"']")
FILES = sorted(FOLDER.iterdir())
HTML = [path for path in FILES if path.suffix == ".html"]
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
WORD_USES = re.compile(r"""say\("(\w+)"|word\("\w+", "(\w+)"|data-t(?:-label)?="(\w+)\"""")
VOID = {"meta", "link", "input", "img", "br"}


class Reader(HTMLParser):
    """Collects elements, what is loaded, and the text of each element with `data-t`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag not in VOID:
            self._open.append(found.get("data-t"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and (key := self._open[-1]) is not None:
            self.texts.append((key, " ".join(data.split())))

    def loaded(self) -> set[str]:
        return {
            str(found[name])
            for tag, found in self.elements
            for name in ("src", "href")
            if name in found and (tag != "a" or not str(found[name]).startswith("#"))
        }


def words() -> dict[str, dict[str, str]]:
    text = (FOLDER / "words.js").read_text(encoding="utf-8")
    table = json.loads(text[text.index("= {") + 2 : text.rindex(";")])
    assert isinstance(table, dict)
    return table


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_every_file_that_a_page_loads_is_served(path: Path) -> None:
    served = PAGES.keys() | {"/openapi.json"}
    loaded = Reader(path.read_text(encoding="utf-8")).loaded()
    assert {"/" + address.removeprefix("./") for address in loaded} <= served


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_module_that_a_script_imports_is_served(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    modules = re.findall(r'^(?:import|export) .*?from "\./(.+?)";', text, re.MULTILINE | re.DOTALL)
    assert {f"/page/{name}" for name in modules} <= PAGES.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_another_server(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name only
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == []
    assert "@import" not in text


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_a_page_has_neither_inline_scripts_nor_inline_styles_nor_handlers(path: Path) -> None:
    reader = Reader(path.read_text(encoding="utf-8"))
    for tag, found in reader.elements:
        assert tag != "style" and "style" not in found
        assert tag != "script" or "src" in found
        assert not [name for name in found if name.startswith("on")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_does_nothing_that_the_policy_forbids_and_never_parses_html(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert (
        re.findall(
            r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|[\"']style[\"']", text
        )
        == []
    )


def test_the_policy_allows_this_server_and_pictures_of_the_reader_only() -> None:
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))
    assert rules["default-src"] == "'self'"
    assert rules["img-src"] == "'self' blob: data:"
    assert "unsafe" not in CONTENT_SECURITY_POLICY and "*" not in CONTENT_SECURITY_POLICY


def test_english_and_chinese_have_the_same_texts_with_the_same_gaps() -> None:
    english, chinese = words()["en"], words()["zh"]
    assert english.keys() == chinese.keys()
    gaps = re.compile(r"\{\w+\}")
    for key, text in english.items():
        assert text.strip() and chinese[key].strip()
        assert sorted(gaps.findall(text)) == sorted(gaps.findall(chinese[key])), key


def test_chinese_is_written_with_chinese_punctuation() -> None:
    mixed = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]")
    assert [text for text in words()["zh"].values() if mixed.search(text)] == []


@pytest.mark.parametrize("path", HTML + SCRIPTS, ids=lambda path: path.name)
def test_every_text_that_is_asked_for_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    asked = {key for found in WORD_USES.findall(text) for key in found if key}
    assert asked <= words()["en"].keys()


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_a_page_is_written_in_the_english_of_the_table(path: Path) -> None:
    texts = Reader(path.read_text(encoding="utf-8")).texts
    english = words()["en"]
    assert [(key, english[key]) for key, _ in texts] == texts


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_every_field_has_a_label_and_every_id_is_there_once(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    elements = Reader(text).elements
    identities = [found["id"] for _, found in elements if "id" in found]
    assert len(identities) == len(set(identities))
    labelled = {found.get("for") for tag, found in elements if tag == "label"}
    wrapped = set(re.findall(r'<label[^>]*>(?:(?!</label>).)*?id="(\w+)"', text, re.DOTALL))
    fields = [found for tag, found in elements if tag in ("input", "select", "textarea")]
    # The camera's input is opened by a button with a text of its own.
    assert [one for one in fields if one.get("id") not in labelled | wrapped | {"camera"}] == []


@pytest.mark.parametrize("script", ["page.js", "answer.js", "live.js", "frame.js"])
def test_every_element_that_a_script_looks_for_is_on_the_page(script: str) -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    asked = set(re.findall(r'\$\("([\w-]+)"\)', (FOLDER / script).read_text(encoding="utf-8")))
    assert asked <= set(re.findall(r'\bid="([\w-]+)"', page))


@pytest.mark.parametrize(
    ("address", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_a_page_is_sent_with_its_type_its_tag_and_the_policy(address: str, content_type: str) -> None:
    response = page_response(address, {})
    assert response is not None and response.status == 200 and response.body
    assert response.content_type == content_type
    headers = dict(response.headers)
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["cache-control"] == "no-cache"
    assert re.fullmatch(r'"[0-9a-f]{16}"', headers["etag"])


@pytest.mark.parametrize("known", ["{etag}", 'W/"other", W/{etag}', "*"])
def test_a_file_that_the_browser_has_is_not_sent_again(known: str) -> None:
    etag = PAGES["/page/page.css"].etag
    response = page_response("/page/page.css", {"if-none-match": known.format(etag=etag)})
    assert response is not None and (response.status, response.body) == (304, b"")


def test_an_older_file_is_sent_anew() -> None:
    response = page_response("/page/page.css", {"if-none-match": '"0000000000000000"'})
    assert response is not None and response.status == 200


@pytest.mark.parametrize("address", ["/page/", "/page/../pages.py", "/page/pages.py", "//", "/index"])
def test_nothing_else_is_served(address: str) -> None:
    assert page_response(address, {}) is None
