"""A real browser, the built book, and a server for it on loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from vae_helpers import PROJECT

BOOK = PROJECT / "build" / "book"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",  # continuous integration runs as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Visit:
    """A page that is loaded, with what went wrong until then and goes wrong from then on."""

    page: Page
    problems: list[str]


def pytest_sessionstart() -> None:
    """Without a book or a browser there is nothing to test, and a skipped test proves nothing."""
    if not (BOOK / "index.html").is_file():
        pytest.exit(f"expected a book in {BOOK}, found none; `make book` builds it", returncode=1)
    if not CHROMIUM.is_file():
        pytest.exit(f"expected a browser at {CHROMIUM}; `apt install chromium`", returncode=1)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address under which a folder can be visited."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def book() -> Path:
    return BOOK


@pytest.fixture(scope="session")
def serve() -> Callable[[Path], contextlib.AbstractContextManager[str]]:
    return served


@pytest.fixture(scope="session")
def book_url(book: Path) -> Iterator[str]:
    with served(book) as url:
        yield url


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Open a page: `visit(url, width=390)`; every visit begins with an empty store."""
    with contextlib.ExitStack() as opened:

        def open_page(
            url: str, *, width: int = 1280, height: int = 900, color_scheme: str = "light"
        ) -> Visit:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=color_scheme
            )
            opened.callback(page.close)
            problems = watched(page, host=urlsplit(url).netloc)
            page.goto(url, wait_until="load")
            page.evaluate("() => window.MathJax?.startup?.promise")  # its page is ready later
            return Visit(page, problems)

        yield open_page


def watched(page: Page, *, host: str) -> list[str]:
    """A list that grows with everything that should not happen on a page."""
    problems: list[str] = []

    def note_request(request) -> None:
        target = urlsplit(request.url)
        if target.netloc != host and target.scheme not in ("data", "blob"):
            problems.append(f"request to another host: {request.url[:100]}")

    def note_response(response) -> None:
        if response.status >= 400:
            problems.append(f"{response.status}: {response.url}")

    def note_message(message) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    page.on("request", note_request)
    page.on("response", note_response)
    page.on("requestfailed", lambda it: problems.append(f"failed request: {it.url[:100]}"))
    page.on("console", note_message)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    return problems
