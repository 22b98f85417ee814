"""Which of the rows that a question touched can be those of hidden tiers, by PostgreSQL's account of its plans."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

Node = dict[str, Any]
_IS_NARROW = re.compile(r"tier|\((memory_)?id = ")


def rows_of_any_tier(run_request: Callable[[], None]) -> Counter[str]:
    """Rows of memories that `run_request` reads in scans that name no tier, by index.

    A scan that names a tier passes no row of another. One that looks ids up passes the rows of those ids, which another
    scan has found. Any other that throws no row away has passed none that the caller may not see: the firewall's
    condition is one of its filters.
    """
    rows_by_index: Counter[str] = Counter()
    for plan in _capture_plans(run_request):
        for node, parent in _iter_scans(plan, {}):
            if not _IS_NARROW.search(node.get("Index Cond", "")):
                rows_by_index[node.get("Index Name", "no index")] += _rows_read(node, parent)
    return rows_by_index


def _rows_read(node: Node, parent: Node) -> int:
    if node["Node Type"] != "Bitmap Index Scan":
        removed_rows = _rows_removed(node)
        return int((node["Actual Rows"] + removed_rows) * node["Actual Loops"]) if removed_rows else 0
    if parent["Node Type"] == "Bitmap Heap Scan":
        return int(_rows_removed(parent) * parent["Actual Loops"])
    # One of several bitmaps, which are laid over each other: what it alone has found is thrown away unseen.
    return int(node["Actual Rows"] * node["Actual Loops"])


def _rows_removed(node: Node) -> float:
    return sum(float(value) for name, value in node.items() if name.startswith("Rows Removed by"))


def _iter_scans(node: Node, parent: Node) -> Iterator[tuple[Node, Node]]:
    """The scans of memories or of one of its indexes, each with the node above it."""
    is_memories_node = node.get("Relation Name") == "memories" or node.get("Index Name", "").startswith("memories_")
    if is_memories_node and node["Node Type"].endswith("Scan") and node["Node Type"] != "Bitmap Heap Scan":
        yield node, parent
    for child in node.get("Plans", []):
        yield from _iter_scans(child, node)


def _capture_plans(run_request: Callable[[], None]) -> list[Node]:
    """The plan of each query as it is run: with the row security of the caller."""
    plans: list[Node] = []

    def explain_query(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "memories" in sql and sql.lstrip(" (\n").startswith(("SELECT", "WITH")):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", params)
                plan_json = cursor.fetchone()[0]
            plans.extend(
                plan_document["Plan"]
                for plan_document in (json.loads(plan_json) if isinstance(plan_json, str) else plan_json)
            )
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain_query):
        run_request()
    return plans
