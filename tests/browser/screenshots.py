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
    options = _parse_arguments()
    options.outdir.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        for theme in THEMES:
            for width in WIDTHS:
                _take_screenshots(browser, options, theme, width)
        browser.close()


def _take_screenshots(browser: Browser, options: argparse.Namespace, theme: str, width: str) -> None:
    context = browser.new_context(
        base_url=options.url,
        viewport=WIDTHS[width],
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()

    def take_picture(subject: str, *, full_page: bool = False) -> None:
        page.screenshot(path=options.outdir / f"{subject}-{width}-{theme}.png", full_page=full_page)

    page.goto("/sign-in")
    take_picture("sign-in")
    page.fill("input[name=username]", options.user)
    page.fill("input[name=password]", options.password)
    page.click("text=Sign in >> nth=-1")
    page.wait_for_selector(".row")
    take_picture("list")
    page.goto("/memories?actor_type=agent&tier=confidential&q=customer")
    page.click("summary:has-text('Add filter')")
    take_picture("filters")
    page.goto(f"/memories/{_changed_memory_url(page)}")
    take_picture("memory", full_page=True)
    page.goto(f"/memories?as_of={_middle_instant(page)}")
    take_picture("list-then")
    page.goto(f"/subjects/{_busiest_subject(page)}")
    take_picture("subject", full_page=True)
    page.goto(f"/diff?axis=event&since={_middle_instant(page)}")
    take_picture("changes")
    page.goto(f"/replay?as=clearance:public&as_of={_middle_instant(page)}")
    take_picture("replay")
    page.goto("/conflicts")
    take_picture("conflicts")
    page.click(".row__link >> nth=0")
    page.wait_for_selector("#group-title")
    take_picture("conflict", full_page=True)
    page.goto("/decisions")
    take_picture("decisions")
    page.goto("/memories?q=no+such+words")
    take_picture("no-match")
    page.goto("/help")
    take_picture("help", full_page=True)
    context.close()


def _changed_memory_url(page: Page) -> str:
    """A memory with several versions, so that there is a diff to look at."""
    path = "/api/memories?limit=200"
    for _ in range(20):
        response = page.request.get(path).json()
        changed_record = max(response["records"], key=lambda record: record["version"])
        if changed_record["version"] > 1 or not response["has_more"]:
            break
        path = f"/api/memories?limit=200&cursor={response['next_cursor']}"
    return str(changed_record["memory_id"])


def _middle_instant(page: Page) -> str:
    """A day in the middle of what happened."""
    buckets = page.request.get("/api/histogram").json()["buckets"]
    return str(buckets[len(buckets) // 2]["start"][:10])


def _busiest_subject(page: Page) -> str:
    """The subject of which most was said lately."""
    records = page.request.get("/api/memories?limit=200").json()["records"]
    ((subject, _),) = Counter(record["subject"] for record in records if record["subject"]).most_common(1)
    return str(subject)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path, nargs="?", default=Path("screenshots"))
    parser.add_argument("--url")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password")
    options = parser.parse_args()
    if options.url and options.password:
        return options
    credentials = json.loads((Path(os.environ.get("MEMORYHUB_HOME", ".memoryhub")) / "credentials.json").read_text())
    options.url = options.url or credentials["url"]
    options.password = options.password or credentials["users"][options.user]
    return options


if __name__ == "__main__":
    main()
