"""The page in a real browser: no error, and asking changes what is found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import omnibind
from omnibind.demo import run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=4000",
    "--dump-dom",
)
WATCH = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
console.error = console.warn = (...words) => errors.push(words.join(" "));
</script>"""
ACT = """<script>
addEventListener("load", () => {
  const found = () => document.getElementById("found").textContent;
  const report = {start: found(), cells: document.querySelectorAll(".figures tbody tr").length};
  report.tiles = document.querySelectorAll(".tile").length;
  report.links = [...document.querySelectorAll("#credits a")].map((link) => link.href);
  const map = document.querySelector("#map canvas").getContext("2d");
  const cells = map.getImageData(0, 0, map.canvas.width, map.canvas.height).data;
  report.colours = new Set(new Uint32Array(cells.buffer)).size;
  const cloud = document.querySelector(".found canvas");
  const drawn = cloud.getContext("2d").getImageData(0, 0, cloud.width, cloud.height).data;
  report.drawn = drawn.reduce((sum, value) => sum + (value > 0), 0);
  [...document.querySelectorAll(".tile")].at(-1).click();
  setTimeout(() => {
    report.clicked = [found(), location.hash];
    document.querySelector(".others button:not([aria-pressed=true])").click();
    report.second = found();
    const made = document.createElement("pre");
    made.id = "report";
    made.textContent = JSON.stringify({...report, errors});
    document.body.append(made);
  }, 500);
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason=f"no browser here (looked for {', '.join(NAMES)})")
def test_the_page_runs_without_an_error_and_a_click_changes_the_results(
    media: Path, model: omnibind.Embedder, tmp_path: Path
):
    page = run(media, tmp_path / "demo.html", recipe=model).page
    text = page.read_text(encoding="utf-8").replace("</head>", WATCH + "</head>", 1)
    page.write_text(text.replace("</body>", ACT + "</body>", 1), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r'<pre id="report">(.*?)</pre>', dump, re.DOTALL)
    assert found, dump[-2000:]
    report = json.loads(html.unescape(found[1]))
    assert report["errors"] == []
    assert (report["tiles"], report["cells"]) == (12, 12)
    assert report["links"] == ["https://example.org/"]
    assert report["colours"] > 20
    assert report["drawn"] > 1000
    assert report["start"] != report["clicked"][0] != report["second"]
    assert report["clicked"][1].startswith("#q=tap")
