-- Under row-level security PostgreSQL uses an index for a condition only if its function is marked as leakproof.
ALTER FUNCTION pg_catalog.arraycontains(anyarray, anyarray) LEAKPROOF;
ALTER FUNCTION memory_tier_trigrams(text, text) LEAKPROOF;
ALTER FUNCTION memory_tier_labels(varchar[], text) LEAKPROOF;
