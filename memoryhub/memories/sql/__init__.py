"""The SQL beneath the querysets of memories: conditions that indexes answer, and reading tier by tier."""
