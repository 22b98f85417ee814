"""A database that accepts no writes answers up to when its record is known to be complete, instead of failing."""

from importlib import import_module

from django.db import migrations

_BEFORE = import_module("memoryhub.memories.migrations.0009_first_instant").CLOCK
_FUNCTION = _BEFORE[_BEFORE.index("CREATE OR REPLACE FUNCTION record_settle") :]
_BRANCH = "        WHEN SQLSTATE 'MH000' THEN NULL;\n"
_ADDED = """\
        -- Nothing can be locked here, and a session that began earlier may be writing. `settled` is what stands fast.
        WHEN read_only_sql_transaction THEN NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0017_imported_history")]
    operations = [migrations.RunSQL(_FUNCTION.replace(_BRANCH, _BRANCH + _ADDED), _FUNCTION)]
