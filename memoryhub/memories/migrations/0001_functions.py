"""The functions that the table's columns, indexes and triggers call."""

from django.db import migrations
from pgvector.django import VectorExtension

CREATE = r"""
CREATE FUNCTION memory_utf8(value text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN convert_to(value, 'UTF8');

-- Nothing in ASCII is composed or invisible. The class names the characters of memories/text.py.
CREATE FUNCTION memory_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 20
RETURN CASE WHEN octet_length(value) = length(value) THEN lower(value)
            ELSE lower(normalize(regexp_replace(value, '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180E\u200B-\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\U000E0000-\U000E007F]', '', 'g'), NFC)) END;

CREATE FUNCTION memory_pattern(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN '%' || replace(replace(replace(memory_fold(value), '\', '\\'), '%', '\%'), '_', '\_') || '%';

-- The body is parsed here and now: indexes are built under an empty search path, where no name would be found.
CREATE FUNCTION memory_grams(value text) RETURNS integer[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 2000
RETURN ARRAY(
    SELECT (get_byte(bytes, i) << 16) | (get_byte(bytes, i + 1) << 8) | get_byte(bytes, i + 2)
    FROM (SELECT memory_utf8(memory_fold(value)) AS bytes OFFSET 0) AS folded,
         generate_series(0, octet_length(bytes) - 3) AS i
);

CREATE FUNCTION record_tick() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    moment timestamptz;
BEGIN
    -- The row lock is held until COMMIT: instants and commits come in one order, and a clock set back moves nothing back.
    INSERT INTO record_clock AS clock (id, instant) VALUES (1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE
        SET instant = greatest(clock_timestamp(), clock.instant + interval '1 microsecond')
    RETURNING instant INTO STRICT moment;
    PERFORM set_config('memoryhub.record_instant', moment::text, true);
    RETURN moment;
END $$;

CREATE FUNCTION record_instant() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    told text := nullif(current_setting('memoryhub.record_instant', true), '');
BEGIN
    RETURN coalesce(told::timestamptz, record_tick());
END $$;
"""

DROP = """
DROP FUNCTION record_instant();
DROP FUNCTION record_tick();
DROP FUNCTION memory_grams(text);
DROP FUNCTION memory_pattern(text);
DROP FUNCTION memory_fold(text);
DROP FUNCTION memory_utf8(text);
"""


class Extension(VectorExtension):
    """Going back leaves it: dropping an extension is for whoever could make it, mostly a superuser."""

    def database_backwards(self, *_args: object) -> None:
        pass


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [Extension(), migrations.RunSQL(CREATE, DROP)]
