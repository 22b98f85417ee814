"""Expired memories can be listed, and search takes a final sigma for a sigma.

So it takes the other letters that share a capital with another one. Grams of the rows that hold such a letter are made
anew; where there is none, the index stays as it is.
"""

from django.db import migrations, models

from memoryhub.memories.text import PLAIN_LETTERS, VARIANT_LETTERS

_INVISIBLE = (
    r"\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180E\u200B-\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\u3164"
    r"\uFE00-\uFE0F\uFEFF\uFFA0\U000E0000-\U000E007F"
)
# CREATE OR REPLACE keeps the function's identity, so that the index and the functions that call it stay as they are.
_FOLD = """
CREATE OR REPLACE FUNCTION memory_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 20
RETURN CASE WHEN octet_length(value) = length(value) THEN lower(value)
            ELSE lower(normalize({unified}, NFC)) END;
"""
_STRIPPED = f"regexp_replace(value, '[{_INVISIBLE}]', '', 'g')"
# translate() takes longer than all the rest, and few texts have anything for it.
_UNIFIED = (
    f"CASE WHEN value ~ '[{VARIANT_LETTERS}]'"
    f" THEN translate({_STRIPPED}, '{VARIANT_LETTERS}', '{PLAIN_LETTERS}') ELSE {_STRIPPED} END"
)
FOLD = _FOLD.format(unified=_UNIFIED)
FOLD_BEFORE = _FOLD.format(unified=_STRIPPED)
# Row-level security binds the owner, too.
REINDEX = f"""
DO $$ BEGIN
    PERFORM set_config('memoryhub.writes_as', '*', true);
    IF EXISTS (SELECT FROM memories WHERE octet_length(content) <> length(content) AND content ~ '[{VARIANT_LETTERS}]') THEN
        REINDEX INDEX memories_grams;
    END IF;
    PERFORM set_config('memoryhub.writes_as', '', true);
END $$;
"""  # noqa: S608 - put together from constants


class Migration(migrations.Migration):
    dependencies = [("memories", "0015_value_digests")]
    operations = [
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('superseded_at__isnull', True), ('expires_at__isnull', False), ('status', 'active')), fields=['classification_tier', 'timestamp', 'memory_id'], name='memories_expiring'),
        ),
        migrations.RunSQL(FOLD + REINDEX, FOLD_BEFORE + REINDEX),
    ]
