"""The documentation: its site builds and opens without a broken link or image, and its lines of Python run."""

import importlib.util
import json
import pkgutil
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pytest

import napari_care_losses

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md")))]
WITH_PYTHON = [page for page in PAGES if "```python\n" in (ROOT / page).read_text(encoding="utf-8")]

# opens every page of the site in a frame of its own, and says what the browser found there
OPENED = """<!doctype html><pre id="found"></pre>%s<script>
addEventListener("load", () => {
  const found = {}
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument
    found[frame.getAttribute("src")] = {
      links: [...page.querySelectorAll("a[href]")].map(link => link.href),
      ids: [...page.querySelectorAll("[id]")].map(part => part.id),
      broken: [...page.images].filter(image => !image.naturalWidth).map(image => image.src),
      fetched: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    }
  }
  document.getElementById("found").textContent = JSON.stringify(found)
})
</script>"""


SHORT = """INHERIT: {root}/mkdocs.yml
docs_dir: {root}/docs
plugins: []
"""
"""A site whose pages of the API are empty, and without a search: built in seconds."""


class Page(HTMLParser):
    """What a page of the site refers to: links, images, and what a browser fetches to show it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.fetched = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(values["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in values:
            self.fetched.append(values["src"])


def _build(folder, *more):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *more]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr + built.stdout
    return folder


@pytest.fixture(scope="module")
def short_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    (folder / "short.yml").write_text(SHORT.format(root=ROOT.as_posix()), encoding="utf-8")
    return _build(folder / "site", "--config-file", str(folder / "short.yml"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return _build(tmp_path_factory.mktemp("docs") / "site")


def test_the_site_without_the_api_holds_every_page(short_site):
    _check_pages(short_site)


def test_the_site_without_the_api_has_no_broken_link_or_image_and_fetches_nothing(short_site):
    pages = {path.as_uri(): Page(path) for path in short_site.glob("**/*.html") if path.name != "404.html"}
    ids = {address: page.ids for address, page in pages.items()}
    for address, page in pages.items():
        inside = [urljoin(address, link) for link in page.links if not urlsplit(link).scheme]
        assert not [link for link in inside if not _leads_somewhere(link, ids)], address
        for url in page.fetched:
            assert not urlsplit(url).scheme or url.startswith("data:"), f"{address} fetches {url}"
            assert url.startswith("data:") or _leads_somewhere(urljoin(address, url), {}), f"{address}: {url}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/reference/python/")])
def test_what_a_page_of_the_api_shows_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE) + re.findall(r"\]\[(napari_care_losses[\w.]*)\]", text)
    assert shown
    for name in shown:
        assert pkgutil.resolve_name(name) is not None


@pytest.mark.slow
def test_the_site_holds_every_page(site):
    _check_pages(site)


def _check_pages(folder):
    for page in (ROOT / "docs").glob("**/*.md"):
        assert (folder / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_finds_no_broken_link_or_image_and_fetches_nothing(site):
    names = [page.relative_to(site).as_posix() for page in sorted(site.glob("**/*.html")) if page.name != "404.html"]
    opener = site / "opened.html"
    opener.write_text(OPENED % "".join(f'<iframe src="{name}"></iframe>' for name in names), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += ["--virtual-time-budget=60000", f"--user-data-dir={site.parent / 'browser'}", "--dump-dom"]
    command = [CHROMIUM, *options, opener.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240).stdout
    found = json.loads(unescape(shown.split('<pre id="found">')[1].split("</pre>")[0]))
    assert set(found) == set(names)
    ids = {(site / name).as_uri(): set(page["ids"]) for name, page in found.items()}
    for name, page in found.items():
        assert not page["broken"], f"{name}: images that do not show: {page['broken']}"
        assert not [url for url in page["fetched"] if not url.startswith(("file:", "data:"))], name
        inside = [link for link in page["links"] if link.startswith("file:")]
        assert not [link for link in inside if not _leads_somewhere(link, ids)], name


def _leads_somewhere(link, ids):
    address, _, anchor = link.partition("#")
    if address not in ids:
        return Path(unquote(urlsplit(address).path)).is_file()
    return not anchor or unquote(anchor) in ids[address]


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_of_the_sources_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.exists(), f"{page}: {link}"
        assert not anchor or anchor in _anchors(found), f"{page}: {link}"


def _anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_lines_of_python_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noisy = np.random.default_rng(0).poisson(30, (2, 48, 40)).astype(np.uint16)
    napari_care_losses.save_stack(tmp_path / "stack.tif", noisy)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    restored = names["restored"]
    assert restored.dtype == np.float32
    assert restored.std() < (names["low"] if "low" in names else noisy).std()


def test_the_pages_name_what_is_public():
    used = set(re.findall(r"\bncl\.(\w+)", "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)))
    assert used == set(napari_care_losses.__all__) - {"__version__"}


def test_the_architecture_lists_every_file():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    listed, folders = set(), []
    for line in page.partition("<!-- files -->\n```\n")[2].partition("```")[0].splitlines():
        name = line.split()[0]
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        if name.endswith("/"):
            folders.append(name.strip("/"))
        elif name.endswith(".py"):
            listed.add("/".join([*folders, name]))
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("src/**/*.py")}
    package = "src/napari_care_losses/__init__.py"
    assert listed == {name for name in files if not name.endswith("/__init__.py")} | {package}
