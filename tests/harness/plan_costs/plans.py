"""Which of the rows that a question touched can be those of hidden tiers, by PostgreSQL's account of its plans."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

Node = dict[str, Any]
_IS_NARROW = re.compile(r"tier|\((memory_)?id = ")


def rows_of_any_tier(ask: Callable[[], None]) -> Counter[str]:
    """Rows of memories that `ask` reads in scans that name no tier, by index.

    A scan that names a tier passes no row of another. One that looks ids up passes the rows of those ids, which another
    scan has found. Any other that throws no row away has passed none that the caller may not see: the firewall's
    condition is one of its filters.
    """
    found: Counter[str] = Counter()
    for plan in _plans(ask):
        for node, parent in _scans(plan, {}):
            if not _IS_NARROW.search(node.get("Index Cond", "")):
                found[node.get("Index Name", "no index")] += _passed(node, parent)
    return found


def _passed(node: Node, parent: Node) -> int:
    if node["Node Type"] != "Bitmap Index Scan":
        removed = _removed(node)
        return int((node["Actual Rows"] + removed) * node["Actual Loops"]) if removed else 0
    if parent["Node Type"] == "Bitmap Heap Scan":
        return int(_removed(parent) * parent["Actual Loops"])
    # One of several bitmaps, which are laid over each other: what it alone has found is thrown away unseen.
    return int(node["Actual Rows"] * node["Actual Loops"])


def _removed(node: Node) -> float:
    return sum(float(value) for name, value in node.items() if name.startswith("Rows Removed by"))


def _scans(node: Node, parent: Node) -> Iterator[tuple[Node, Node]]:
    """The scans of memories or of one of its indexes, each with the node above it."""
    of_memories = node.get("Relation Name") == "memories" or node.get("Index Name", "").startswith("memories_")
    if of_memories and node["Node Type"].endswith("Scan") and node["Node Type"] != "Bitmap Heap Scan":
        yield node, parent
    for child in node.get("Plans", []):
        yield from _scans(child, node)


def _plans(ask: Callable[[], None]) -> list[Node]:
    """The plan of each question, as it is asked: behind the wall of whoever asks."""
    plans: list[Node] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "memories" in sql and sql.lstrip(" (\n").startswith(("SELECT", "WITH")):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", params)
                told = cursor.fetchone()[0]
            plans.extend(each["Plan"] for each in (json.loads(told) if isinstance(told, str) else told))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        ask()
    return plans
