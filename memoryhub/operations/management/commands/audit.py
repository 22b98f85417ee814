import json
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import connection

from memoryhub.audit import log
from memoryhub.audit.verify import ChainBrokenError, export_entries, verify_chain
from memoryhub.firewall import rls
from memoryhub.memories import clock
from memoryhub.operations.management import filter_arguments


class Command(BaseCommand):
    help = "Verify the audit log, print its head, or export it."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="action", required=True)
        verify_parser = subparsers.add_parser(
            "verify", help="verify the chain of hashes, and name the first entry that does not fit"
        )
        verify_parser.add_argument(
            "--head",
            type=Path,
            metavar="FILE",
            help="a file with lines of `audit head`: verify that all of these entries are still there",
        )
        subparsers.add_parser(
            "head", help="print the number and hash of the last entry, to be stored on another system"
        )
        subparsers.add_parser("export", help="write every entry as a line of JSON")

    def handle(self, *_args: Any, action: str, head: Path | None = None, **_options: Any) -> None:
        filter_arguments.lift_time_limit()
        # The operator of the audit log sees all of it.
        with rls.as_writer(None):
            if action == "verify":
                self._verify_chain(_read_known_hashes(head) if head else {})
            elif action == "head":
                chain_head = log.get_head()
                self.stdout.write(json.dumps({"seq": chain_head.seq, "hash": chain_head.hash.hex()}))
            else:
                for line in export_entries():
                    self.stdout.write(line)

    def _verify_chain(self, known_hashes: dict[int, str]) -> None:
        try:
            last_entry = verify_chain(known_hashes, is_hub_in_use=_is_hub_in_use())
        except ChainBrokenError as error:
            raise CommandError(f"The audit log is broken: {error}.", returncode=1) from None
        self.stdout.write(
            f"The audit log is intact: {last_entry.seq:,} entries, the last has the hash {last_entry.hash.hex()}."
        )


def _is_hub_in_use() -> bool:
    """Whether the database has rows that cannot exist without an audit entry."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM decisions) OR EXISTS (SELECT FROM api_keys)")
        return bool(cursor.fetchone()[0]) or clock.has_records()


def _read_known_hashes(head_file: Path) -> dict[int, str]:
    try:
        heads = [json.loads(line) for line in head_file.read_text().splitlines() if line.strip()]
        return {int(head["seq"]): str(head["hash"]) for head in heads if head["seq"]}
    except OSError as error:
        raise CommandError(f"{head_file} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise CommandError(f"{head_file} does not contain lines of `audit head`.") from None
