"""Take the README's picture: play the drill, log in as the duty officer, wait, click.

    make screenshot

Needs headless Chromium (Debian: apt-get install chromium fonts-noto-cjk).
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from pipeline.commands.running import free_port

OUT = Path(__file__).parent / "pictures" / "board.png"
PASSWORD = "Picture-of-a-night-1"  # of a drill that is thrown away
SPEED = 120
PLAY_S = 85


def log_in(page: Page, address: str, first: str) -> None:
    """Through the one-time password to one of our own."""
    for password in (first, PASSWORD):
        page.goto(f"{address}/login")
        page.fill("input[name=name]", "duty")
        page.fill("input[name=password]", password)
        page.locator("form button").last.click()
        page.wait_for_load_state()
        if "/password" in page.url:
            for field, value in zip(
                ("old", "new", "again"), (first, PASSWORD, PASSWORD), strict=True
            ):
                page.fill(f"input[name={field}]", value)
            page.locator("form button").last.click()
            page.wait_for_load_state()


def main() -> None:
    """Play, look, stop."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no Chromium; install it (Debian: apt-get install chromium fonts-noto-cjk)")
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pipeline.cli", "run", "--config", home]
        command += ["--port", str(port), "--speed", str(SPEED)]
        product = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert product.stdout is not None
        first = ""
        for line in product.stdout:
            if found := re.match(r"\s+duty\s+(\S+)", line):
                first = found.group(1)
            if "Ctrl-C" in line:
                break
        try:
            time.sleep(PLAY_S)
            with sync_playwright() as p:
                browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_page(
                    viewport={"width": 1440, "height": 900},
                    locale="zh-CN",
                    timezone_id="Asia/Shanghai",
                )
                log_in(page, f"http://localhost:{port}", first)
                page.wait_for_selector("text=待处理", timeout=30_000)
                page.get_by_role("button", name="更多").first.click()
                page.wait_for_timeout(4000)
                OUT.parent.mkdir(exist_ok=True)
                page.screenshot(path=OUT)
                browser.close()
        finally:
            product.send_signal(signal.SIGINT)
            product.wait(timeout=30)
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
