import json
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import connection

from memoryhub.audit import ledger
from memoryhub.audit.verify import Broken, export, verify
from memoryhub.firewall import wall
from memoryhub.memories import clock
from memoryhub.ops.management import questions


class Command(BaseCommand):
    help = "Look after the ledger: verify that it is whole, print its head to be kept elsewhere, export it."

    def add_arguments(self, parser: CommandParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        check = deeds.add_parser("verify", help="name the first entry that is not as it was appended")
        check.add_argument(
            "--head", type=Path, metavar="FILE", help="lines that `audit head` printed: none of them may be gone"
        )
        deeds.add_parser("head", help="print the last entry's number and hash; keep it where nobody of here can write")
        deeds.add_parser("export", help="write every entry as a line of JSON")

    def handle(self, *_args: Any, deed: str, head: Path | None = None, **_options: Any) -> None:
        questions.lift_time_limit()
        # The keeper of the ledger sees all of it.
        with wall.writing(None):
            if deed == "verify":
                self._verify(_kept(head) if head else {})
            elif deed == "head":
                found = ledger.head()
                self.stdout.write(json.dumps({"seq": found.seq, "hash": found.hash.hex()}))
            else:
                for line in export():
                    self.stdout.write(line)

    def _verify(self, kept: dict[int, str]) -> None:
        try:
            last = verify(kept, is_hub_in_use=_is_in_use())
        except Broken as broken:
            raise CommandError(f"The ledger is broken: {broken}.", returncode=1) from None
        self.stdout.write(f"The ledger is whole: {last.seq:,} entries, the last has the hash {last.hash.hex()}.")


def _is_in_use() -> bool:
    """Whether something is there that cannot have come without an entry."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM decisions) OR EXISTS (SELECT FROM api_keys)")
        return bool(cursor.fetchone()[0]) or clock.has_records()


def _kept(file: Path) -> dict[int, str]:
    try:
        heads = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        return {int(head["seq"]): str(head["hash"]) for head in heads if head["seq"]}
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise CommandError(f"{file} does not hold what `audit head` prints.") from None
