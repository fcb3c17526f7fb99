"""Makes the pictures of docs/screenshots anew: `python -m tests.console.screenshots [page …]`.

A server of its own is filled with a busy month (`busy_days`) and looked at in Chromium (TEST_CHROMIUM), wide and
narrow, light and dark. Whoever adds a page of the console adds it to PAGES.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.console.conftest import CHROMIUM, QUIET
from tests.live import LiveServer

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
NOWHERE = "http://127.0.0.1:9"
PASSWORD = "correct horse battery"
PAGES = {
    "dashboard": "/console/?days=30",
    "calls": "/console/bedrock_chat/modelcall/?days=7",
    "bots": "/console/bots/bot/",
    "apis": "/console/publication/publication/",
    "people": "/console/bedrock_chat/user/",
    "models": "/console/bedrock_chat/modeloverride/",
    "feedback": "/console/conversations/ratedmessage/",
    "jobs": "/console/bedrock_chat/job/",
}
SIZES = {"": (1400, 900), "-narrow": (390, 844)}
SCHEMES = ("light", "dark")
BUSY = "from tests.console.busy_days import fill; fill()"


def main(names: list[str], folder: Path) -> None:
    """`folder` gets `dashboard.png`, `dashboard-narrow.png`, `dashboard-dark.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        zone = {"REPORT_TIME_ZONE": "Asia/Tokyo", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        with LiveServer(Path(data), NOWHERE, **zone) as server:
            server.manage("createsuperuser", "--noinput", "--login", "olga")
            server.manage("shell", "--no-imports", "-c", BUSY)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            for scheme in SCHEMES:
                for suffix, (width, height) in SIZES.items():
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page = context.new_page()
                    page.goto(f"{server.url}/console/")
                    page.fill("input[name=username]", "olga")
                    page.fill("input[name=password]", PASSWORD)
                    page.click("button[type=submit]")
                    page.wait_for_load_state()
                    for name in names or PAGES:
                        page.goto(f"{server.url}{PAGES[name]}")
                        page.wait_for_load_state("networkidle")
                        dark = "-dark" if scheme == "dark" else ""
                        page.screenshot(path=folder / f"{name}{suffix}{dark}.png", full_page=False)
                    context.close()
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:], FOLDER)
