"""Rows reach a caller only through `Memory.objects.visible_to(clearance)`: a lint over the product.

It reads the syntax tree, and it says no to whatever it does not know: a model of the table may be named in an
annotation, be instantiated, be tested for, or be asked through the firewall, and nothing else.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIREWALL_PATHS = (
    ROOT / "memoryhub" / "memories",
    ROOT / "memoryhub" / "firewall",
    # It runs SQL that other modules put together, and those are read here.
    ROOT / "memoryhub" / "core" / "sql.py",
    # The worker embeds the rows of every source, and no row leaves these modules.
    ROOT / "memoryhub" / "search" / "embedding_index.py",
    ROOT / "memoryhub" / "search" / "models.py",
)
ADMIN = ROOT / "inspector" / "admin.py"
"""Django's admin writes queries about users and keys by design; memories it does not know."""
OPERATOR_MODULES = {"doctor.py", "embedded_postgres.py", "database_roles.py"}
"""Modules of operations that ask the catalogs about roles and rights: their SQL names these, so it is put together."""

MODELS = {"Decision", "Memory", "MemoryRollup", "MemoryDayRollup", "MemoryTotalRollup"}
QUERYSETS = {"MemoryQuerySet", "TieredQuerySet", "ClassifiedQuerySet", "QuerySet", "RawQuerySet", "RawSQL", "Manager"}
MANAGERS = {"_base_manager", "_default_manager"}
MANAGER_OPTIONS = {
    "managers",
    "managers_map",
    "base_manager",
    "default_manager",
    "base_manager_name",
    "default_manager_name",
}
MODEL_REFERENCE = re.compile(r"memories(\.models)?\.(Memory|MemoryRollup|MemoryDayRollup|MemoryTotalRollup)\b")
TABLE_PATTERN = re.compile(
    r"""(\b(from|join|into|update|table|truncate|only|copy|lock|analyze|vacuum|cluster|view)|,)\s+
        (\w+\s*\.\s*|"\w+"\s*\.\s*)?"?(memories|memory_rollups|memory_day_rollups|memory_total_rollups)\b"?""",
    re.IGNORECASE | re.VERBOSE,
)
SQL_PATTERN = re.compile(
    r"""\s*(--.*\n\s*|\()*(select|insert|update|delete|truncate|copy|table|with|lock|analyze|vacuum|from|join|merge|create|
        alter|drop|explain|declare|prepare|do|values|set|grant|cluster)\b""",
    re.IGNORECASE | re.VERBOSE,
)
QUERY_METHODS = {
    "aggregate", "alias", "annotate", "bulk_create", "cursor", "dates", "datetimes", "defer", "distinct", "exclude",
    "execute", "executemany", "filter", "in_bulk", "order_by", "prefetch_related", "select_related", "values_list",
}  # fmt: skip
DATABASE_PACKAGES = ("django.db", "psycopg")


class ChokePointLint:
    """What is wrong with one module, each as `line: reason`."""

    def __init__(self, source: str, *, is_page: bool = False, is_operators: bool = False) -> None:
        self.tree = ast.parse(source)
        self.is_page = is_page
        self.is_operator_module = is_operators
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.models = {name: name for name in MODELS} | dict(self._aliases())
        self.constants = {
            target.id
            for node in self.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def findings(self) -> list[str]:
        return [
            f"{getattr(node, 'lineno', 0)}: {finding}"
            for node in ast.walk(self.tree)
            for finding in self._node_findings(node)
        ]

    def _aliases(self) -> Iterator[tuple[str, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                yield from ((name.asname or name.name, name.name) for name in node.names if name.name in MODELS)

    def _node_findings(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from self._import_findings(node)
        if self._model_name(node) and not self._is_allowed(node):
            yield f"{ast.unparse(node)} is used other than by Memory.objects.visible_to(…)"
        if isinstance(node, ast.Attribute):
            yield from self._attribute_findings(node)
        if isinstance(node, ast.Call):
            yield from self._call_findings(node)
        if (text := self._text_finding(node)) is not None:
            if MODEL_REFERENCE.search(text):
                yield "a model of the table is reached by its name"
            if SQL_PATTERN.match(text) and TABLE_PATTERN.search(text):
                yield "SQL names a table of memories"

    def _import_findings(self, node: ast.ImportFrom | ast.Import) -> Iterator[str]:
        module = getattr(node, "module", None) or ""
        names = [name.name for name in node.names]
        if module.startswith(("memoryhub.memories", "memoryhub.firewall")) and any(n[0] in "_*" for n in names):
            yield "the private parts of memories and firewall are theirs"
        modules = [module] if module else names
        if self.is_page and any(name.startswith(DATABASE_PACKAGES) for name in modules):
            yield "a page has no business with the database"

    def _attribute_findings(self, node: ast.Attribute) -> Iterator[str]:
        value = node.value
        is_meta_option = isinstance(value, ast.Attribute) and value.attr == "_meta"
        if node.attr in MANAGERS or (node.attr in MANAGER_OPTIONS and is_meta_option):
            yield f"{node.attr} goes around the firewall"
        if node.attr == "objects":
            attribute_name = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
            if not attribute_name[:1].isupper():
                yield "a manager is reached through something else than its model's name"
            elif self.is_page and not self._model_name(value):
                yield "a query is written in a page"

    def _call_findings(self, node: ast.Call) -> Iterator[str]:
        function_name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        constant_arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if function_name in QUERYSETS or function_name in {"raw", "extra", "get_model"}:
            yield f"{function_name}(…) makes a query of its own"
        if function_name in {"getattr", "attrgetter"} and {"objects", *MODELS, *MANAGERS} & set(
            map(str, constant_arguments)
        ):
            yield "a manager is reached by its name"
        is_method = isinstance(node.func, ast.Attribute)
        runs_sql = is_method and function_name in {"execute", "executemany", "copy"} and bool(node.args)
        if runs_sql and not self.is_operator_module and not self._is_constant(node.args[0]):
            yield f"{function_name}(…) runs SQL that is put together"
        if (
            self.is_page
            and is_method
            and function_name in QUERY_METHODS
            and ast.unparse(node.func) != "register.filter"
        ):
            yield f"a query is written in a page: {function_name}"

    def _is_constant(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in self.constants)

    def _text_finding(self, node: ast.AST) -> str | None:
        """A text as it stands in the source, put together where it is put together from constants; no docstrings."""
        if isinstance(self.parents.get(node), ast.JoinedStr | ast.BinOp | ast.FormattedValue | ast.Expr):
            return None
        return self._constant_text(node)

    def _constant_text(self, node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant):
            value = node.value
            return (
                value.decode(errors="replace")
                if isinstance(value, bytes)
                else value
                if isinstance(value, str)
                else None
            )
        if isinstance(node, ast.JoinedStr):
            return "".join(self._constant_text(part) or "{}" for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return self._constant_text(node.value)
        if isinstance(node, ast.BinOp):
            return f"{self._constant_text(node.left) or '{}'}{self._constant_text(node.right) or '{}'}"
        return None

    def _model_name(self, node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return self.models.get(node.id)
        return node.attr if isinstance(node, ast.Attribute) and node.attr in MODELS else None

    def _is_allowed(self, node: ast.AST) -> bool:
        parent = self.parents[node]
        if isinstance(parent, ast.Attribute):
            return parent.attr == "DoesNotExist" or self._is_firewalled(node)
        if isinstance(parent, ast.Call):
            return parent.func is node or ast.unparse(parent.func) == "isinstance"
        return self._is_annotation(node)

    def _is_firewalled(self, node: ast.AST) -> bool:
        """`Memory.objects.visible_to(…)`, called and with a clearance."""
        objects = self.parents[node]
        visible_to = self.parents[objects]
        call = self.parents.get(visible_to)
        return (
            isinstance(objects, ast.Attribute)
            and objects.attr == "objects"
            and isinstance(visible_to, ast.Attribute)
            and visible_to.attr == "visible_to"
            and isinstance(call, ast.Call)
            and call.func is visible_to
            and len(call.args) == 1
        )

    def _is_annotation(self, node: ast.AST) -> bool:
        child, parent = node, self.parents[node]
        while isinstance(parent, ast.Subscript | ast.BinOp | ast.Tuple | ast.List):
            if isinstance(parent, ast.Subscript) and parent.slice is child:
                return True
            child, parent = parent, self.parents[parent]
        return child in (getattr(parent, "annotation", None), getattr(parent, "returns", None))


def list_modules() -> list[Path]:
    module_paths = [*ROOT.glob("memoryhub/**/*.py"), *ROOT.glob("inspector/**/*.py")]
    return sorted(path for path in module_paths if not any(path.is_relative_to(folder) for folder in FIREWALL_PATHS))


def test_every_module_of_the_product_is_read():
    names = {path.relative_to(ROOT).as_posix() for path in list_modules()}

    assert {
        "memoryhub/api/native/memories.py",
        "memoryhub/operations/status.py",
        "inspector/views/memories.py",
    } <= names
    assert not any(
        name.startswith(("memoryhub/memories/", "memoryhub/firewall/", "memoryhub/core/sql.py")) for name in names
    )


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rows_reach_a_caller_only_through_the_firewall(path):
    is_page = path.is_relative_to(ROOT / "inspector") and path != ADMIN

    is_operators = path.parent == ROOT / "memoryhub" / "operations" and path.name in OPERATOR_MODULES

    assert ChokePointLint(path.read_text(), is_page=is_page, is_operators=is_operators).findings() == []


IMPORT = "from memoryhub.memories.models import Memory, MemoryRollup, MemoryDayRollup\n"
FORBIDDEN_SNIPPETS = [
    "Memory.objects.all()",
    "Memory.objects.current()",
    "Memory.objects.filter(subject='a').visible_to(clearance)",
    "Memory.objects",
    "Memory.objects.visible_to",
    "Memory.objects.visible_to()",
    "query = Memory.objects.visible_to",
    "manager = Memory.objects\nmanager.all()",
    "MemoryRollup.objects.all()",
    "MemoryDayRollup.objects.filter(day=day)",
    "Memory._default_manager.all()",
    "Memory._base_manager.all()",
    "Memory._meta.managers[0].all()",
    "Memory._meta.db_table",
    "row._meta.default_manager.all()",
    "filters.visible_versions.model._base_manager",
    "filters.visible_versions.model.objects.all()",
    "type(memory).objects.all()",
    "self.model.objects.all()",
    "getattr(module, 'Memory')",
    "getattr(model, 'objects')",
    "models = [Memory]",
    "get_object_or_404(Memory, memory_id=memory_id)",
    "class MemoryList(ListView):\n    model = Memory",
    "class Shape(ModelSerializer):\n    class Meta:\n        model = Memory",
    "admin.site.register(Memory)",
    "@admin.register(Memory)\nclass MemoryAdmin(admin.ModelAdmin):\n    pass",
    "QuerySet(Memory)",
    "MemoryQuerySet(Memory).all()",
    "ClassifiedQuerySet(MemoryRollup)",
    "TieredQuerySet(Memory)",
    "apps.get_model('memories', 'Memory')",
    "import_string('memoryhub.memories.models.Memory')",
    "pgtrigger.ignore('memories.Memory:forbid_delete')",
    "from memoryhub.memories import models\nmodels.Memory.objects.all()",
    "import memoryhub.memories.models\nmemoryhub.memories.models.Memory.objects.all()",
    "from memoryhub.memories.models import Memory as Fact\nFact.objects.all()",
    "from memoryhub.memories.models import *",
    "from memoryhub.memories.writes.write import _lookup",
    "User.objects.raw('SELECT 1')",
    "users.extra(where=['1=1'])",
    "cursor.execute('SELECT * FROM memories')",
    "cursor.execute('select count(*) from public.memories')",
    "cursor.execute('SELECT 1 FROM users, memories')",
    "cursor.execute('SELECT * FROM \"memory_rollups\"')",
    "cursor.execute('UPDATE memory_day_rollups SET count = 0')",
    "cursor.execute(b'TABLE memories')",
    "cursor.copy('COPY memories TO STDOUT')",
    "SQL = 'SELECT * ' + 'FROM memories'",
    "SQL = f'SELECT {what} FROM memories'",
    "SQL = f'SELECT 1 FROM {\"memories\"}'",
    "SQL = '''\n    SELECT *\n    FROM\n        memories\n'''",
    "cursor.execute(f'SELECT * FROM {table}')",
    "cursor.execute('SELECT * FROM %s' % table)",
    "cursor.execute('SELECT * FROM {}'.format(table))",
    "cursor.execute(sql)",
    "TAIL = ' FROM memories WHERE true'",
    "SQL = '-- all of them\\n(SELECT * FROM memories)'",
]
ALLOWED_SNIPPETS = [
    "Memory.objects.visible_to(clearance)",
    "Memory.objects.visible_to(principal.clearance).current().filter(memory_id=memory_id)",
    "def about(memory: Memory) -> QuerySet[Memory]: ...",
    "def about(memory: Memory | None) -> dict[str, list[Memory]]: ...",
    "rows: list[Memory] = []",
    "about = Memory(subject='a')",
    "isinstance(row, Memory)",
    "try:\n    pass\nexcept Memory.DoesNotExist:\n    pass",
    "class MemoryAdmin(admin.ModelAdmin[Memory]):\n    pass",
    "User.objects.filter(is_active=True)",
    "path('memories/<uuid:memory_id>', views.memory)",
    "help = 'Store memories from JSON lines.'",
    "def export():\n    '''SELECT * FROM memories is what this does not do.'''",
    "cursor.execute('SELECT pg_advisory_lock(%s)', [1])",
    "QUESTION = 'SELECT 1'\ncursor.execute(QUESTION)",
    "cursor.execute('SELECT * FROM read_counts')",
]
FORBIDDEN_IN_PAGES = [
    "User.objects.get(pk=1)",
    "ApiKey.objects",
    "Memory.objects.visible_to(clearance).filter(subject='a')",
    "visible.exclude(status='erased')",
    "visible.order_by('-timestamp')",
    "visible.annotate(row_count=Count('id'))",
    "from django.db import connection",
    "import django.db",
    "from django.db.models import Q",
    "import psycopg",
    "with anything.cursor() as cursor:\n    pass",
]
ALLOWED_IN_PAGES = [
    "NOW.versions_of(Memory.objects.visible_to(request.principal.clearance), memory_id)",
    "@register.filter\ndef display(value): ...",
    "register.filter('visible', text.show_invisible)",
    "values = {}.values()",
]


@pytest.mark.parametrize("snippet", FORBIDDEN_SNIPPETS)
def test_the_lint_catches(snippet):
    assert ChokePointLint(IMPORT + snippet).findings() != []


@pytest.mark.parametrize("snippet", ALLOWED_SNIPPETS)
def test_the_lint_lets_pass(snippet):
    assert ChokePointLint(IMPORT + snippet).findings() == []


@pytest.mark.parametrize("snippet", [*FORBIDDEN_SNIPPETS, *FORBIDDEN_IN_PAGES])
def test_the_lint_catches_in_a_page(snippet):
    assert ChokePointLint(IMPORT + snippet, is_page=True).findings() != []


@pytest.mark.parametrize("snippet", ALLOWED_IN_PAGES)
def test_the_lint_lets_pass_in_a_page(snippet):
    assert ChokePointLint(IMPORT + snippet, is_page=True).findings() == []
