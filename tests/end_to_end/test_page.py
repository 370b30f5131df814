"""The page in a real browser, against the real service and a real, tiny bundle."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, Page
from PIL import Image
from tiny_bundles import make_bundle

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "scripts" / "serve.py"
KEY = "mls_" + "k" * 43
SHOWN = "document.querySelector('#answer').dataset.state"
CONNECTION = "document.querySelector('#state').dataset.state"
GREY = (120, 90, 200)  # of the picture that is dropped


@contextlib.contextmanager
def serving(bundle: Path, *settings: str) -> Iterator[str]:
    """Run the service; its address. Ended by SIGTERM."""
    given = {"serve.port": "0", "serve.access_log": "false"} | dict(one.split("=", 1) for one in settings)
    command = [sys.executable, str(SERVE), f"bundle={bundle}", *(f"{key}={value}" for key, value in given.items())]
    process = subprocess.Popen(command, cwd=bundle.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "serving http" in line:
            break
    address = said[-1].split("serving ", 1)[-1].strip() if said else ""
    # What else it says is read on, so that a full pipe never stops it.
    rest = threading.Thread(target=lambda: said.extend(process.stdout or ()))
    rest.start()
    try:
        assert address.startswith("http://"), "".join(said)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        rest.join()
        process.stdout.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("served") / "bundle").path


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[str]:
    with serving(bundle) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), GREY).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def visiting(browser: Chromium, url: str, **options: object) -> Iterator[Page]:
    """The page, once it has heard from the server; at the end no script has failed and nothing was blocked."""
    with browser.page(**options) as page:  # type: ignore[arg-type]
        page.open(url)
        page.until(f"{CONNECTION} !== 'unknown'")
        yield page
        assert page.complaints() == []


def answered(page: Page, picture: bytes) -> None:
    page.drop("photo.png", "image/png", picture)
    page.until(f"{SHOWN} === 'answer'")


def test_a_dropped_picture_is_answered_with_classes_times_and_the_models_version(
    browser: Chromium, service: str, picture: bytes
) -> None:
    with visiting(browser, service) as page:
        answered(page, picture)
        assert page.text("#winner").startswith("class_")
        assert page.text("#confidence").endswith("%")
        assert page.run("document.querySelectorAll('#bars li').length") == 5
        assert page.text("#total").endswith("ms")
        assert page.text("#fact-version") == "1"
        assert len(page.text("#fact-request")) == 32
        assert page.text("#said") == f"{page.text('#winner')}, {page.text('#confidence')}"  # for screen readers
        assert page.run("document.querySelector('#preview').naturalWidth") == 40


def test_a_pasted_picture_and_an_example_are_answered_too(browser: Chromium, service: str, picture: bytes) -> None:
    with visiting(browser, service) as page:
        text = base64.b64encode(picture).decode()
        page.run(f"""(() => {{
            const bytes = Uint8Array.from(atob("{text}"), (letter) => letter.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "image.png", {{ type: "image/png" }}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {{ bubbles: true, clipboardData }}));
        }})()""")
        page.until(f"{SHOWN} === 'answer'")
        before = page.text("#fact-request")
        page.until("document.querySelectorAll('#examples img').length === 8")
        page.click("#examples button:nth-child(3)")
        page.until(f"{SHOWN} === 'answer' && document.querySelector('#fact-request').innerText !== '{before}'")


def test_a_chosen_file_is_answered(browser: Chromium, service: str, picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(picture)
    with visiting(browser, service) as page:
        page.choose("#file", tmp_path / "photo.png")
        page.until(f"{SHOWN} === 'answer'")


def test_a_text_file_is_answered_with_what_the_server_says_and_the_next_picture_works(
    browser: Chromium, service: str, picture: bytes
) -> None:
    with visiting(browser, service) as page:
        page.drop("notes.txt", "text/plain", b"this is no picture")
        page.until(f"{SHOWN} === 'problem'")
        assert len(page.text("#problem-detail")) > 20
        assert page.run("document.querySelector('#result').hidden")
        answered(page, picture)
        assert page.run("document.querySelector('#problem').hidden")


def test_nothing_is_asked_of_another_server(browser: Chromium, service: str, picture: bytes) -> None:
    with visiting(browser, service) as page:
        answered(page, picture)
        page.open(f"{service}/docs")
        page.until("document.querySelector('.route')")
        elsewhere = [url for url in page.requested() if not url.startswith((service, "blob:", "data:"))]
        assert elsewhere == []


def test_the_language_is_the_browsers_until_another_is_chosen_and_that_is_remembered(
    browser: Chromium, service: str, picture: bytes
) -> None:
    with visiting(browser, service, language="zh-CN") as page:
        assert page.text("#title") == "模型看到了什么？"
        answered(page, picture)
        page.click("#language")
        assert page.text("#title") == "What does the model see?"
        assert page.run("document.documentElement.lang") == "en"
        assert "waiting" in page.text("#legend")
        page.open(f"{service}/docs")
        page.until("!document.documentElement.classList.contains('untranslated')")
        assert page.text("h1") == "API"
        page.click("#language")
        page.until("document.querySelector('h1').innerText === '接口'")


def test_the_theme_is_the_systems_until_another_is_chosen_and_that_is_remembered(
    browser: Chromium, service: str
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with visiting(browser, service) as page:
        light = page.run(ground)
        page.prefer(dark=True)
        dark = page.run(ground)
        assert light != dark
        page.click("#theme")
        assert page.run(ground) == light
        page.open(service + "/?again")
        assert page.run(ground) == light
        page.prefer(dark=False)
        page.click("#theme")
        assert page.run(ground) == dark


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("address", ["/", "/docs"])
def test_a_narrow_window_never_scrolls_sideways(
    browser: Chromium, service: str, picture: bytes, address: str, language: str
) -> None:
    with browser.page(width=360, height=740, language=language) as page:
        page.resize(360, 740, touch=True)
        page.open(service + address)
        if address == "/":
            page.drop("notes.txt", "text/plain", b"this is no picture")
            page.until(f"{SHOWN} === 'problem'")
            assert page.run("document.documentElement.scrollWidth <= innerWidth")
            answered(page, picture)
            page.click("#wrong")
            assert page.run("getComputedStyle(document.querySelector('#shoot')).display") != "none"
        else:
            page.until("document.querySelectorAll('.route').length > 10")
            page.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            page.until("document.querySelectorAll('form.attempt').length > 10")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_moves_when_the_answer_comes(browser: Chromium, service: str, picture: bytes) -> None:
    with visiting(browser, service) as page:
        page.until("document.querySelectorAll('#examples img').length === 8 && document.fonts.status === 'loaded'")
        places = "['#zone', '#after', '#live', '#feedback'].map((one) => document.querySelector(one).offsetTop)"
        before = page.run(places)
        answered(page, picture)
        assert page.run(places) == before


def test_a_server_that_is_gone_is_said_and_found_again(browser: Chromium, bundle: Path, picture: bytes) -> None:
    with browser.page() as page:
        with serving(bundle) as url:
            page.open(url)
            page.until(f"{CONNECTION} === 'ready'")
        page.drop("photo.png", "image/png", picture)
        page.until(f"{SHOWN} === 'problem' && {CONNECTION} === 'unreachable'")
        assert "can't be reached" in page.text("#problem-detail")
        with serving(bundle, f"serve.port={url.rsplit(':', 1)[1]}"):
            page.until(f"{CONNECTION} === 'ready'")
            page.click("#again")
            page.until(f"{SHOWN} === 'answer'")
        assert page.complaints() == []


def test_a_key_is_asked_for_sent_and_forgotten_with_the_tab(
    browser: Chromium, bundle: Path, picture: bytes, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"page sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with serving(bundle, f"serve.api_keys_file={keys}") as url, browser.page() as page:
        page.open(url)
        page.until("document.querySelector('#key-dialog').open")
        page.type("#key", "mls_" + "x" * 43)
        page.press("Enter", 13, "\r")
        page.until("document.querySelector('#key-dialog').open && document.querySelector('#key').value === ''")
        page.until("document.querySelector('#key-hint').innerText.includes('not accepted')")
        page.type("#key", KEY)
        page.press("Enter", 13, "\r")
        page.until(f"{CONNECTION} === 'ready' && !document.querySelector('#key-dialog').open")
        page.until("document.querySelectorAll('#examples img').length === 8")
        answered(page, picture)
        assert page.run("[...Object.values(sessionStorage)].length") == 1
        assert KEY not in page.run("JSON.stringify(localStorage) + document.cookie + location.href")
        assert page.complaints() == []


def test_who_gives_no_key_is_not_asked_again_and_again(browser: Chromium, bundle: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"page sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with serving(bundle, f"serve.api_keys_file={keys}") as url, browser.page() as page:
        page.open(url)
        page.until("document.querySelector('#key-dialog').open")
        page.click("#key-cancel")
        page.until(f"{CONNECTION} === 'limited'")
        asked = "performance.getEntriesByName(new URL('status', location.href).href).length"
        page.until(f"{asked} > 1")
        assert not page.run("document.querySelector('#key-dialog').open")


def test_the_reader_tells_the_right_class(browser: Chromium, service: str, picture: bytes) -> None:
    with visiting(browser, service) as page:
        answered(page, picture)
        page.click("#wrong")
        offered = page.run("[...document.querySelectorAll('#label option')].map((one) => one.value)")
        assert len(offered) == 9 and page.text("#winner") not in offered
        assert page.run("document.activeElement.id") == "label"
        page.run("document.querySelector('#label').value = 'class_7'")
        page.click("#send")
        page.until("document.querySelector('#feedback-ask').innerText === 'Thank you, it is recorded.'")
        answered(page, picture)
        page.until("!document.querySelector('#choices').hidden")
        page.click("#right")
        page.until("document.querySelector('#feedback-ask').innerText === 'Thank you, it is recorded.'")


def test_the_live_panel_counts_what_is_asked(browser: Chromium, service: str, picture: bytes) -> None:
    with visiting(browser, service) as page:
        answered(page, picture)
        page.until("parseFloat(document.querySelector('#requests_per_s').innerText) > 0")
        page.until("parseFloat(document.querySelector('#p95_ms').innerText) > 0")
        page.until("document.querySelectorAll('#spark-traffic polyline').length > 0")
        assert "now" in page.run("document.querySelector('#spark-traffic').getAttribute('aria-label')")
        assert page.run("document.querySelector('#experiment').hidden")


def test_everything_is_reached_by_the_keyboard(browser: Chromium, service: str) -> None:
    with visiting(browser, service) as page:
        page.until("document.querySelectorAll('#examples img').length === 8")
        reached = []
        for _ in range(9):
            page.press("Tab", 9)
            reached.append(page.run("document.activeElement.id || document.activeElement.className"))
            assert page.run("document.activeElement.matches(':focus-visible')")
        assert reached[:6] == ["skip", "brand", "quiet", "language", "theme", "file"]
        page.press("Enter", 13, "\r")  # an example
        page.until(f"{SHOWN} === 'answer'")


@pytest.mark.parametrize(("task", "shown"), [("regression", "."), ("multilabel", "class_")])
def test_other_tasks_are_shown_in_their_own_way(
    browser: Chromium, picture: bytes, tmp_path: Path, task: str, shown: str
) -> None:
    classes = 1 if task == "regression" else 4
    served = make_bundle(tmp_path / task, task=task, classes=classes).path
    with serving(served) as url, visiting(browser, url) as page:
        answered(page, picture)
        if task == "multilabel":
            assert page.run("document.querySelectorAll('#bars li').length") == classes
            assert page.text("#winner").startswith((shown, "None of"))
        else:
            assert float(page.text("#winner").replace(",", "").replace("−", "-")) != 0
            assert page.text("#confidence") == "class_0"
        assert page.run("getComputedStyle(document.querySelector('#feedback')).visibility") == "hidden"


def test_the_docs_list_every_route_with_a_command_and_their_examples_work(browser: Chromium, service: str) -> None:
    with browser.page() as page:
        page.open(f"{service}/docs")
        page.until("document.querySelectorAll('.route').length > 10")
        page.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        page.until("document.querySelectorAll('form.attempt').length === document.querySelectorAll('.route').length")
        assert page.run("document.querySelector('.code code').innerText").startswith("curl ")
        assert service in page.run("document.querySelector('.code code').innerText")
        kinds = page.run("[...document.querySelectorAll('#predict select option')].map((one) => one.value)")
        for kind in kinds:
            page.run(f"""(() => {{
                const choice = document.querySelector('#predict select');
                choice.value = '{kind}';
                choice.dispatchEvent(new Event('change'));
                document.querySelector('#predict .got').hidden = true;
                document.querySelector('#predict form').requestSubmit();
            }})()""")
            page.until("!document.querySelector('#predict .got').hidden")
            assert page.text("#predict .status").startswith("200"), (kind, page.text("#predict .got"))
        assert page.complaints() == []
