"""The words of a text, their stems, and the query for a phrase.

PostgreSQL's own parser splits and drops words by the locale of the database, so a text is split by `memory_word_text`,
as `core.words.split_words` does. The dictionary has no stop words: a phrase needs all of its words.
"""

from django.db import migrations

# The characters of `core.storable_text` and `core.words`; tests compare the two.
INVISIBLE = (
    r"\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180E\u200B-\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F"
    r"\u3164\uFE00-\uFE0F\uFEFF\uFFA0\U000E0000-\U000E007F"
)
DIACRITICS = r"\u0300-\u036F\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE20-\uFE2F"
SEPARATORS = (
    r"\u0000-\u001F\u0021-\u0026\u0028-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u00A9\u00AB-\u00B1\u00B4\u00B6-\u00B8"
    r"\u00BB\u00BF\u00D7\u00F7\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u02FF\u0375\u037E\u0384\u0385"
    r"\u0387\u03F6\u0482\u055A-\u055F\u0589\u058A\u058D-\u058F\u05BE\u05C0\u05C3\u05C6\u05F3-\u060F\u061B-\u061F"
    r"\u066A-\u066D\u06D4\u06DD\u06DE\u06E9\u06FD\u06FE\u0700-\u070F\u07F6-\u07F9\u07FE\u07FF\u0830-\u083E\u085E"
    r"\u0888\u0890\u0891\u08E2\u0964\u0965\u0970\u09F2\u09F3\u09FA\u09FB\u09FD\u0A76\u0AF0\u0AF1\u0B70\u0BF3-\u0BFA"
    r"\u0C77\u0C7F\u0C84\u0D4F\u0D79\u0DF4\u0E3F\u0E4F\u0E5A\u0E5B\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38"
    r"\u0F3A-\u0F3D\u0F85\u0FBE-\u0FC5\u0FC7-\u0FDA\u104A-\u104F\u109E\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400"
    r"\u166D\u166E\u1680\u169B\u169C\u16EB-\u16ED\u1735\u1736\u17D4-\u17D6\u17D8-\u17DB\u1800-\u180A\u180E"
    r"\u1940-\u1945\u19DE-\u19FF\u1A1E\u1A1F\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B4E\u1B4F\u1B5A-\u1B6A\u1B74-\u1B7F"
    r"\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E\u1C7F\u1CC0-\u1CC7\u1CD3\u1FBD\u1FBF-\u1FC1\u1FCD-\u1FCF\u1FDD-\u1FDF"
    r"\u1FED-\u1FEF\u1FFD-\u206F\u207A-\u207E\u208A-\u208E\u20A0-\u20C4\u2100\u2101\u2103-\u2106\u2108\u2109\u2114"
    r"\u2116-\u2118\u211E-\u2123\u2125\u2127\u2129\u212E\u213A\u213B\u2140-\u2144\u214A-\u214D\u214F\u218A-\u244A"
    r"\u249C-\u24E9\u2500-\u2775\u2794-\u2BFF\u2CE5-\u2CEA\u2CF9-\u2CFC\u2CFE\u2CFF\u2D70\u2E00-\u2E2E\u2E30-\u3004"
    r"\u3008-\u3020\u3030\u3036\u3037\u303D-\u303F\u309B\u309C\u30A0\u30FB\u3190\u3191\u3196-\u319F\u31C0-\u31EF"
    r"\u3200-\u321E\u322A-\u3247\u3250\u3260-\u327F\u328A-\u32B0\u32C0-\u33FF\u4DC0-\u4DFF\uA490-\uA4C6\uA4FE\uA4FF"
    r"\uA60D-\uA60F\uA673\uA67E\uA6F2-\uA716\uA720\uA721\uA789\uA78A\uA828-\uA82B\uA836-\uA839\uA874-\uA877\uA8CE"
    r"\uA8CF\uA8F8-\uA8FA\uA8FC\uA92E\uA92F\uA95F\uA9C1-\uA9CD\uA9DE\uA9DF\uAA5C-\uAA5F\uAA77-\uAA79\uAADE\uAADF"
    r"\uAAF0\uAAF1\uAB5B\uAB6A\uAB6B\uABEB\uD800-\uF8FF\uFB29\uFBB2-\uFBD2\uFD3E-\uFD4F\uFD90\uFD91\uFDC8-\uFDCF"
    r"\uFDFC-\uFDFF\uFE10-\uFE19\uFE30-\uFE6B\uFEFF-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFD"
    r"\U00010100-\U00010102\U00010137-\U0001013F\U00010179-\U00010189\U0001018C-\U000101FC\U0001039F\U000103D0"
    r"\U0001056F\U00010857\U00010877\U00010878\U0001091F\U0001093F\U00010A50-\U00010A58\U00010A7F\U00010AC8"
    r"\U00010AF0-\U00010AF6\U00010B39-\U00010B3F\U00010B99-\U00010B9C\U00010D6E\U00010D8E\U00010D8F\U00010EAD"
    r"\U00010EC9\U00010ECA\U00010ED0-\U00010ED8\U00010F55-\U00010F59\U00010F86-\U00010F89\U00011047-\U0001104D"
    r"\U000110BB-\U000110C1\U000110CD\U00011140-\U00011143\U00011174\U00011175\U000111C5-\U000111C8\U000111CD"
    r"\U000111DB\U000111DD-\U000111DF\U00011238-\U0001123D\U000112A9\U000113D4-\U000113D8\U0001144B-\U0001144F"
    r"\U0001145A-\U0001145D\U000114C6\U000115C1-\U000115D7\U00011641-\U00011643\U00011660-\U0001166C\U000116B9"
    r"\U0001173C-\U0001173F\U0001183B\U00011944-\U00011946\U000119E2\U00011A3F-\U00011A46\U00011A9A-\U00011A9C"
    r"\U00011A9E-\U00011AA2\U00011B00-\U00011B09\U00011BE1\U00011C41-\U00011C45\U00011C70\U00011C71\U00011EF7"
    r"\U00011EF8\U00011F43-\U00011F4F\U00011FD5-\U00011FFF\U00012470-\U00012474\U00012FF1\U00012FF2"
    r"\U00013430-\U0001343F\U00016A6E\U00016A6F\U00016AF5\U00016B37-\U00016B3F\U00016B44\U00016B45"
    r"\U00016D6D-\U00016D6F\U00016E97-\U00016E9A\U00016FE2\U0001BC9C\U0001BC9F-\U0001CCEF\U0001CCFA-\U0001CEFD"
    r"\U0001CF50-\U0001D126\U0001D129-\U0001D164\U0001D16A-\U0001D16C\U0001D173-\U0001D17A\U0001D183\U0001D184"
    r"\U0001D18C-\U0001D1A9\U0001D1AE-\U0001D241\U0001D245\U0001D253-\U0001D25A\U0001D25D\U0001D25E"
    r"\U0001D260-\U0001D27F\U0001D300-\U0001D356\U0001D6C1\U0001D6DB\U0001D6FB\U0001D715\U0001D735\U0001D74F"
    r"\U0001D76F\U0001D789\U0001D7A9\U0001D7C3\U0001D800-\U0001D9FF\U0001DA37-\U0001DA3A\U0001DA6D-\U0001DA74"
    r"\U0001DA76-\U0001DA83\U0001DA85-\U0001DA8B\U0001DB00-\U0001DB1C\U0001E14F\U0001E2FF\U0001E5FF\U0001E95E"
    r"\U0001E95F\U0001ECAC\U0001ECB0\U0001ED2E\U0001EEF0-\U0001F0F5\U0001F10D-\U0001FBEF\U0001FBFA"
    r"\U000E0001-\U000E007F\U000F0000-\U0010FFFD"
)
UNSPACED_LETTERS = (
    r"\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u1950-\u19FF\u1A20-\u1AAF\u1B00-\u1B7F\u2E80-\u2FDF\u3005-\u3007"
    r"\u3021-\u3029\u3031-\u303C\u3040-\u312F\u31A0-\u31BF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF\uA980-\uA9FF"
    r"\uAA60-\uAADF\uF900-\uFAFF\U00017000-\U00018DFF\U0001AFF0-\U0001B16F\U00020000-\U0003FFFF"
)
DECOMPOSED_APOSTROPHES = r"\u00B4\u1FBD"
APOSTROPHES = r"\u0060\u02B9\u02BB-\u02BF\u055A\u05F3\u2018\u2019\u201B\u2032"
RARE_LETTERS, PLAIN_LETTERS = "ϐϑϕϖϰϱϵᲀᲁᲂᲃᲄᲅᲆᲇᲈħŧȷ", "βθφπκρεвдосттъѣꙋhtj"
FREQUENT_LETTERS = {"ς": "σ", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i"}
PLAIN_WORDS = "words"
for letter, plain_letters in FREQUENT_LETTERS.items():
    PLAIN_WORDS = f"replace({PLAIN_WORDS}, '{letter}', '{plain_letters}')"

TEXT = f"""
-- The words of a text, separated by single spaces. Every match of a pattern takes time, so single spaces are none.
CREATE FUNCTION memory_word_text(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 200 AS $$
DECLARE
    words text;
BEGIN
    IF octet_length(value) = length(value) THEN
        words := replace(lower(value COLLATE pg_catalog.pg_c_utf8), '`', '''');
        words := regexp_replace(words, '[^a-z0-9'' ]+', ' ', 'g');
    ELSE
        words := regexp_replace(value, '[{DECOMPOSED_APOSTROPHES}]', '''', 'g');
        words := normalize(regexp_replace(words, '[{INVISIBLE}]+', '', 'g'), NFKD);
        words := lower(regexp_replace(words, '[{DIACRITICS}]+', '', 'g') COLLATE pg_catalog.pg_c_utf8);
        words := regexp_replace(words, '[{APOSTROPHES}]', '''', 'g');
        -- translate() compares every character with every letter: a replace() for each of a few letters is faster.
        IF words ~ '[{"".join(FREQUENT_LETTERS)}]' THEN
            words := {PLAIN_WORDS};
        END IF;
        IF words ~ '[{RARE_LETTERS}]' THEN
            words := translate(words, '{RARE_LETTERS}', '{PLAIN_LETTERS}');
        END IF;
        words := regexp_replace(normalize(words, NFC), '[{SEPARATORS}]+', ' ', 'g');
    END IF;
    IF strpos(words, '''') > 0 THEN
        IF strpos(words, '''''') > 0 THEN
            words := regexp_replace(words, '''+', '''', 'g');
        END IF;
        words := replace(replace(' ' || words || ' ', ''' ', ' '), ' ''', ' ');
        words := replace(replace(words, '''s ', ' '), '''', '');
    END IF;
    IF words ~ '[{UNSPACED_LETTERS}]' THEN
        words := regexp_replace(words, '([{UNSPACED_LETTERS}]+)', ' \\1 ', 'g');
    END IF;
    RETURN btrim(regexp_replace(words, '  +', ' ', 'g'), ' ');
END $$;
"""
WORDS = """
CREATE TEXT SEARCH DICTIONARY memoryhub_english (TEMPLATE = pg_catalog.snowball, Language = english);
CREATE TEXT SEARCH CONFIGURATION memoryhub_words (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION memoryhub_words
    ALTER MAPPING FOR asciihword, asciiword, email, file, float, host, hword, hword_asciipart, hword_numpart, hword_part,
                      int, numhword, numword, sfloat, uint, url, url_path, version, word
    WITH memoryhub_english;

-- The stems of words that are separated by single spaces. A lexeme has at most 2,046 bytes: long words are cut.
CREATE FUNCTION memory_stems(words text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 500
RETURN (
    SELECT coalesce(
        string_agg('''' || (ts_lexize('memoryhub_english', left(word, 511)))[1] || ''':' || position, ' ')::tsvector,
        ''::tsvector)
    FROM string_to_table(words, ' ') WITH ORDINALITY AS split_words(word, position)
);

-- The same for more words. A tsvector takes one megabyte; of a text that needs more, the stems of the beginning.
CREATE FUNCTION memory_stems_of_long_text(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100000 AS $$
BEGIN
    RETURN (
        SELECT string_agg('''' || stem || ''':' || positions, ' ')::tsvector
        FROM (
            SELECT stem, string_agg(position::text, ',') AS positions
            FROM (
                SELECT (ts_lexize('memoryhub_english', left(word, 511)))[1] AS stem, position
                FROM string_to_table(words, ' ') WITH ORDINALITY AS split_words(word, position)
            ) AS stems
            GROUP BY stem
        ) AS distinct_stems
    );
EXCEPTION
    WHEN program_limit_exceeded THEN RETURN memory_stems(left(words, 100000));
END $$;

-- The stems of the words of a text, with their positions. PostgreSQL keeps 255 positions of a stem, up to 16,383: a phrase
-- further on is not found.
CREATE FUNCTION memory_words(value text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
DECLARE
    words text := memory_word_text(value);
    byte_count integer := octet_length(words);
BEGIN
    -- PostgreSQL's parser is faster than memory_stems, and takes words of ASCII as they are, but for numbers such as 1e5,
    -- which it cuts where a letter follows.
    IF byte_count <= 2046 AND byte_count = length(words) AND words !~ '[0-9]e[0-9]' THEN
        RETURN to_tsvector('memoryhub_words', words);
    -- The tsvector of these has at most twice as many bytes.
    ELSIF byte_count <= 400000 THEN
        RETURN memory_stems(words);
    END IF;
    RETURN memory_stems_of_long_text(words);
END $$;

-- A query for the words of a text as a phrase: adjacent and in this order. Without a word it matches nothing.
CREATE FUNCTION memory_word_query(value text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 500
RETURN (
    SELECT coalesce(
        string_agg('''' || (ts_lexize('memoryhub_english', left(word, 511)))[1] || '''', ' <-> ' ORDER BY position)::tsquery,
        ''::tsquery)
    FROM string_to_table(memory_word_text(value), ' ') WITH ORDINALITY AS split_words(word, position)
);

-- Not left to the end of `migrate`: PostgreSQL builds an index on these with a search_path without the hub's schema.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION memory_words(text) SET search_path = %1$I, pg_temp;
         ALTER FUNCTION memory_stems_of_long_text(text) SET search_path = %1$I, pg_temp;
         ALTER FUNCTION memory_word_text(text) SET search_path = %1$I, pg_temp',
        current_schema());
END $$;
"""
DROP = """
DROP FUNCTION memory_word_query(text);
DROP FUNCTION memory_words(text);
DROP FUNCTION memory_stems_of_long_text(text);
DROP FUNCTION memory_stems(text);
DROP TEXT SEARCH CONFIGURATION memoryhub_words;
DROP TEXT SEARCH DICTIONARY memoryhub_english;
DROP FUNCTION memory_word_text(text);
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0005_faster_trigrams")]
    operations = [migrations.RunSQL(TEXT + WORDS, DROP)]
