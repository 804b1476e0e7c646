"""The HTML report in a browser: with and without scripts, silent on the console, and asking for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape

import pytest
from PIL import Image
from report.pages import drawn
from report.test_html import HOSTILE, audit_of

from pytest_xaisanity.report.html import write

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]
DARK = "--blink-settings=preferredColorScheme=0"
TOLD = """
<script>
document.querySelector("iframe").addEventListener("load", event => {
  const page = event.target.contentDocument;
  const seen = selector => [...page.querySelectorAll(selector)].filter(one => one.getClientRects().length).length;
  const text = page.body.innerText.includes("Provenance");
  document.title = JSON.stringify({scripted: seen(".scripted"), articles: seen("article"), text});
});
</script>
"""
MEASURED = """
<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const cut = [...document.querySelectorAll("h3, p, figcaption, .badge, td")].filter(one => {
    const box = one.closest(".wide");
    return !box && one.getBoundingClientRect().right > root.clientWidth + 1;
  });
  document.title = JSON.stringify({wide: root.scrollWidth, room: root.clientWidth, cut: cut.length});
});
</script>
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return a report with every kind of figure, and hostile names."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    outcomes = ["failed", "passed", "inconclusive", "error"]
    records = [drawn(text, outcome=outcomes[place % 4]) for place, text in enumerate(HOSTILE.values())]
    write(file, records, settings={"seed": 0}, command="pytest", audit=audit_of("word"), interrupted=True)
    return file


@pytest.fixture
def browse(tmp_path):
    """Return a function that shows a file in the browser, and returns what it says."""

    def shown(file, *args):
        own = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}/user")
        quiet = ("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr")
        command = [BROWSER, *own, *quiet, *args, file.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return shown


@pytest.fixture(scope="module")
def framed(report):
    """Return a page that shows the report where scripts are turned off, and tells what is there."""
    source = escape(report.read_text(encoding="utf-8"))
    file = report.with_name("framed.html")
    frame = f'<iframe sandbox="allow-same-origin" style="border:0;width:100vw;height:100vh" srcdoc="{source}">'
    file.write_text(f'<meta charset="utf-8"><body style="margin:0">{frame}</iframe>{TOLD}', encoding="utf-8")
    return file


@pytest.mark.parametrize("args", [(), (DARK,)], ids=["light", "dark"])
@pytest.mark.parametrize("scripts", ["scripts", "no scripts"])
def test_it_is_drawn_and_says_nothing_on_the_console(report, framed, browse, tmp_path, scripts, args):
    shown = report if scripts == "scripts" else framed
    result = browse(shown, f"--screenshot={tmp_path}/shot.png", "--window-size=1200,2400", *args)
    said = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in said if "sandboxed" not in line]  # that our script is not run
    assert bool(said) == (shown is framed)
    picture = Image.open(tmp_path / "shot.png").convert("L")
    assert picture.size == (1200, 2400)
    background = 245 if args != (DARK,) else 21
    assert abs(picture.getpixel((2, 2)) - background) < 12
    colors = picture.crop((0, 1000, 1200, 2400)).getcolors(2**20)
    assert len(colors) > 30, "there is more than a background"


def test_scripts_show_what_needs_them_and_all_else_is_there_without(report, framed, browse):
    page = browse(report, "--dump-dom").stdout
    assert "hidden" not in re.search(r'<span class="scripted"[^>]*>', page)[0]
    found = json.loads(re.search(r"<title>(.*?)</title>", browse(framed, "--dump-dom").stdout)[1])
    assert found == {"scripted": 0, "articles": len(HOSTILE), "text": True}
    assert page.count("<article") == len(HOSTILE)


@pytest.mark.parametrize("faulty", [False, True])
def test_no_request_leaves_the_page(report, browse, tmp_path, faulty):
    shown = tmp_path / "shown.html"
    policy, picture = ("", '<img src="http://127.0.0.1:9/x.png">') if faulty else (r"\g<0>", "")
    source = re.sub("<meta http-equiv[^>]*>", policy, report.read_text(encoding="utf-8"))
    shown.write_text(source.replace("</body>", f"{picture}</body>"), encoding="utf-8")
    browse(shown, f"--log-net-log={tmp_path}/net.json", f"--screenshot={tmp_path}/shot.png")
    log = json.loads((tmp_path / "net.json").read_text())
    params = [event["params"] for event in log["events"] if "url" in event.get("params", {})]
    asked = {one["url"] for one in params if one.get("initiator", "not an origin") != "not an origin"}
    assert {url for url in asked if not url.startswith(("data:", "file:"))} == (
        {"http://127.0.0.1:9/x.png"} if faulty else set()
    )


@pytest.mark.parametrize("width", [500, 1200])
def test_nothing_is_wider_than_the_window(report, browse, tmp_path, width):
    """Long names are broken, and wide tables scroll by themselves."""
    source = re.sub(r"<meta http-equiv[^>]*>", "", report.read_text(encoding="utf-8"))
    file = tmp_path / "measured.html"
    file.write_text(source.replace("</body>", f"{MEASURED}</body>"), encoding="utf-8")
    dom = browse(file, "--dump-dom", f"--window-size={width},900", "--virtual-time-budget=3000").stdout
    found = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    assert found["wide"] <= found["room"]
    assert not found["cut"]


def test_it_prints(report, browse, tmp_path):
    browse(report, f"--print-to-pdf={tmp_path}/report.pdf")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type ?/Page\b", printed)) >= len(HOSTILE) / 2
