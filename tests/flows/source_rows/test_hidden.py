"""Row-level security hides rows without an error, so it is said whom it applies to."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from analytics_pipeline.flows.contract import COLUMNS
from analytics_pipeline.flows.source_rows.hidden import Hiding, hidden_rows
from analytics_pipeline.resources.postgres import Postgres
from tests.product import Product


@pytest.fixture
def reader(empty_product: Product) -> Iterator[Postgres]:
    """The source as a role sees it that owns nothing and bypasses nothing."""
    name = f"reader_{empty_product.table}"
    empty_product.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    parts = urlsplit(empty_product.postgres.url)
    url = urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))
    yield replace(empty_product.postgres, url=url)
    empty_product.execute(f"DROP OWNED BY {name} CASCADE")
    empty_product.execute(f"DROP ROLE {name}")


def test_hidden_rows__security_of_a_table__is_named_unless_the_role_bypasses_it(
    empty_product: Product, reader: Postgres
) -> None:
    name = f"reader_{empty_product.table}"
    assert hidden_rows(reader, COLUMNS) == []
    empty_product.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")

    assert hidden_rows(reader, COLUMNS) == [Hiding("accounts", "accounts", name)]
    assert hidden_rows(reader, ["projects"]) == hidden_rows(empty_product.postgres, COLUMNS) == []

    empty_product.execute(f"ALTER ROLE {name} BYPASSRLS")
    assert hidden_rows(reader, COLUMNS) == []


def test_hidden_rows__security_behind_views__counts_for_whoever_reads_the_table(
    empty_product: Product, reader: Postgres
) -> None:
    """A view reads with its owner's rights, and one of the invoker's with ours."""
    name = f"reader_{empty_product.table}"
    empty_product.execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY")
    empty_product.execute("CREATE VIEW plain AS SELECT * FROM accounts")
    empty_product.execute("CREATE VIEW ours WITH (security_invoker = true) AS SELECT * FROM accounts")
    empty_product.execute("CREATE VIEW nested AS SELECT * FROM accounts")
    empty_product.execute(f"ALTER VIEW nested OWNER TO {name}")
    empty_product.execute("CREATE VIEW outer_one AS SELECT * FROM nested")

    found = {
        view: hidden_rows(replace(reader, relations={"accounts": view}), ["accounts"])
        for view in ("plain", "public.ours", "outer_one")
    }

    hiding = [Hiding("accounts", "accounts", name)]
    assert found == {"plain": [], "public.ours": hiding, "outer_one": hiding}
