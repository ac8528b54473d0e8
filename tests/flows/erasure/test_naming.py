"""Every table of both stores is in the registry, or left out with a reason; hashes are the same in all three places."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE, CLICKHOUSE_LEFT_OUT, POSTGRES, POSTGRES_LEFT_OUT
from analytics_pipeline.flows.erasure.subjects import TYPES, digest, in_clickhouse, in_postgres
from analytics_pipeline.resources.clickhouse.names import quoted
from tests.product import Product

KEY = b"\x00\xffkey of thirty-two bytes, or so.."
# Tables by day that `migrate` took over from an older version are not in every database.
_ONCE = {"reporting_rollups_by_day", "reporting_day_bounds_by_day", "ai_usage_daily_by_day"}


def test_registry__every_table_of_both_stores__is_in_it_or_left_out(empty_product: Product) -> None:
    tables = empty_product.tables()
    ours = {
        name
        for (name,) in empty_product.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'analytics_pipeline'")
    }

    assert tables - {*CLICKHOUSE, *CLICKHOUSE_LEFT_OUT} == set()
    assert {*CLICKHOUSE, *CLICKHOUSE_LEFT_OUT} - tables - _ONCE == set()
    assert ours == {*POSTGRES, *POSTGRES_LEFT_OUT}
    assert {*CLICKHOUSE} & {*CLICKHOUSE_LEFT_OUT} == set()


@pytest.mark.parametrize("table", sorted({*CLICKHOUSE} - _ONCE))
def test_registry__its_columns__can_be_asked_for(empty_product: Product, table: str) -> None:
    named = CLICKHOUSE[table]
    columns = [
        *(column for columns in named.rows.values() for column in columns),
        *named.blanked.values(),
        *(column for pair in named.states.values() for column in pair),
    ]

    empty_product.clickhouse.query(f"SELECT {', '.join(columns)} FROM {quoted(table)}")


NAMES = ("", "a", "7", 'O\'Brien "x" \\', "Zoë\u2028😀", "x" * 10_000, "%(key)s {key:String}", "a\x00b", "\x1f:2:ab")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_digest__of_any_text__is_the_same_in_python_clickhouse_and_postgres(product: Product, name: str) -> None:
    expected = digest(KEY, "identity", "env-é", name)

    in_ch = product.clickhouse.scalar(
        f"SELECT {in_clickhouse('identity', ('{environment:String}', '{name:String}'))}",
        erasure_key=KEY.hex(),
        environment="env-é",
        name=name,
    )
    assert in_ch == expected.hex().upper()
    if "\x00" in name:
        return
    with product.postgres.connect() as connection:
        ((found,),) = connection.execute(
            f"SELECT {in_postgres('identity', ('%(environment)s::text', '%(name)s::text'))}".encode(),
            {"erasure_key": KEY, "environment": "env-é", "name": name},
        ).fetchall()
    assert bytes(found) == expected


# Of few letters, so that two texts often meet.
_FEW = st.text("ab:12", max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.tuples(_FEW, _FEW), st.tuples(_FEW, _FEW))
def test_digest__of_two_identities__differs(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (digest(KEY, "identity", *one) == digest(KEY, "identity", *other)) == (one == other)


def test_digest__of_another_kind_or_key__differs() -> None:
    found = {digest(key, kind, "7") for kind in TYPES for key in (KEY, b"another")}

    assert len(found) == 2 * len(TYPES)


@pytest.mark.parametrize("text", ["-1", "9223372036854775808", "1e3", "", " 7", "٣", "0x7", "7.0", "9" * 5_000, "me"])
def test_user__no_id__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"id|UUID|uuid"):
        subjects.user(text)


def test_user__by_number_or_uuid__has_one_name() -> None:
    one = uuid.uuid4()

    assert subjects.user("007") == subjects.user("7")
    assert subjects.user(str(one).upper()) == subjects.user(one.hex) == subjects.Subject("event_user", (str(one),))
