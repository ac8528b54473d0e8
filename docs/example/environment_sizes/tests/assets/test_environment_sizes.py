"""Environment sizes through Dagster, on real engines."""

from tests.product import KEY, Product, document, failure_text, today

ASSETS = ("raw_identities", "identity_snapshots", "environment_sizes")


def sizes(product: Product) -> dict[str, int]:
    """The day's sizes by environment key."""
    rows = product.clickhouse.query(
        "SELECT environment_id, identities FROM environment_sizes FINAL WHERE date = {day:Date}", day=today()
    )
    return dict(rows)


def test_sizes__empty_environment__is_zero_and_not_absent(product: Product) -> None:
    product.add_environment(101, key="empty")
    product.put(document("alice"), document("bob"))

    result = product.materialise(*ASSETS)

    assert result.success, failure_text(result)
    assert sizes(product) == {KEY: 2, "empty": 0}


def test_sizes__environment_not_loaded__has_no_row(product: Product) -> None:
    assert product.materialise("environment_sizes").success

    assert sizes(product) == {}


def test_sizes__identity_and_environment_vanish__next_run_follows(product: Product) -> None:
    product.add_environment(101, key="other")
    product.put(document("alice"), document("bob"), document("olga", "other"))
    product.materialise(*ASSETS)
    product.remove("bob")
    product.execute("DELETE FROM environments WHERE id = 101")

    assert product.materialise(*ASSETS).success

    assert sizes(product) == {KEY: 1}


def test_sizes__materialised_twice__second_run_changes_nothing(product: Product) -> None:
    product.put(document("alice"))
    product.materialise(*ASSETS)
    before = sizes(product)

    assert product.materialise("environment_sizes").success

    assert sizes(product) == before == {KEY: 1}
