"""Pictures of a running hub: `python -m tests.browser.screenshots OUTDIR --url … --user … --password …`."""

import argparse
import json
import os
from collections import Counter
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.browser.chromium import launch_options

WIDTHS: dict[str, ViewportSize] = {
    "wide": {"width": 1280, "height": 900},
    "narrow": {"width": 360, "height": 780},
}
THEMES = ("light", "dark")


def main() -> None:
    wanted = _arguments()
    wanted.outdir.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        for theme in THEMES:
            for width in WIDTHS:
                _take(browser, wanted, theme, width)
        browser.close()


def _take(browser: Browser, wanted: argparse.Namespace, theme: str, width: str) -> None:
    context = browser.new_context(
        base_url=wanted.url,
        viewport=WIDTHS[width],
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()

    def picture(subject: str, *, whole: bool = False) -> None:
        page.screenshot(path=wanted.outdir / f"{subject}-{width}-{theme}.png", full_page=whole)

    page.goto("/sign-in")
    picture("sign-in")
    page.fill("input[name=username]", wanted.user)
    page.fill("input[name=password]", wanted.password)
    page.click("text=Sign in >> nth=-1")
    page.wait_for_selector(".row")
    picture("list")
    page.goto("/memories?actor_type=agent&tier=confidential&q=customer")
    page.click("summary:has-text('Add filter')")
    picture("filters")
    page.goto(f"/memories/{_changed_memory(page)}")
    picture("memory", whole=True)
    page.goto(f"/memories?as_of={_halfway(page)}")
    picture("list-then")
    page.goto(f"/subjects/{_busiest(page)}")
    picture("subject", whole=True)
    page.goto(f"/diff?axis=event&since={_halfway(page)}")
    picture("changes")
    page.goto(f"/replay?as=clearance:public&as_of={_halfway(page)}")
    picture("replay")
    page.goto("/conflicts")
    picture("conflicts")
    page.click(".row__link >> nth=0")
    page.wait_for_selector("#group-title")
    picture("conflict", whole=True)
    page.goto("/decisions")
    picture("decisions")
    page.goto("/memories?q=no+such+words")
    picture("no-match")
    page.goto("/help")
    picture("help", whole=True)
    context.close()


def _changed_memory(page: Page) -> str:
    """A memory with several versions, so that there is a diff to look at."""
    path = "/api/memories?limit=200"
    for _ in range(20):
        answer = page.request.get(path).json()
        found = max(answer["records"], key=lambda record: record["version"])
        if found["version"] > 1 or not answer["has_more"]:
            break
        path = f"/api/memories?limit=200&cursor={answer['next_cursor']}"
    return str(found["memory_id"])


def _halfway(page: Page) -> str:
    """A day in the middle of what happened."""
    buckets = page.request.get("/api/histogram").json()["buckets"]
    return str(buckets[len(buckets) // 2]["start"][:10])


def _busiest(page: Page) -> str:
    """The subject of which most was said lately."""
    records = page.request.get("/api/memories?limit=200").json()["records"]
    ((subject, _),) = Counter(record["subject"] for record in records if record["subject"]).most_common(1)
    return str(subject)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path, nargs="?", default=Path("screenshots"))
    parser.add_argument("--url")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password")
    wanted = parser.parse_args()
    if wanted.url and wanted.password:
        return wanted
    known = json.loads((Path(os.environ.get("MEMORYHUB_HOME", ".memoryhub")) / "credentials.json").read_text())
    wanted.url = wanted.url or known["url"]
    wanted.password = wanted.password or known["users"][wanted.user]
    return wanted


if __name__ == "__main__":
    main()
