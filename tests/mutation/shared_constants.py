"""Files, tests and a piece of code that mutants of more than one module name."""

SQL_FUNCTIONS_MIGRATION = "memoryhub/memories/migrations/0001_sql_functions.py"
ROLES = "memoryhub/operations/database_roles.py"
POINT_IN_TIME = "memoryhub/memories/point_in_time.py"
UNRESTRICTED_CLEARANCE = "__import__('memoryhub.firewall.clearance').firewall.clearance.unrestricted_clearance()"

NONINTERFERENCE_TESTS = "tests/noninterference/test_reads.py"
STORY_TEST = f"{NONINTERFERENCE_TESTS}::test_a_hundred_hidden_rows_between_two_change_nothing_at_any_endpoint"
QUERY_FILTER_TEST = f"{STORY_TEST}[query filter alone]"
ROW_SECURITY = "tests/harness/test_row_security.py"
MAY_NOT = f"{ROW_SECURITY}::test_the_application_may_not"
