"""Tokens: made once, found by their hash, ended at once."""

import hashlib
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from analytics_pipeline.api import tokens
from analytics_pipeline.api.tokens import NoSuchToken, TokenExists
from tests.product import Product


def test_authenticate__token_that_was_made__is_found_and_its_use_noted(empty_product: Product) -> None:
    store = empty_product.postgres
    before = datetime.now(timezone.utc)

    made = tokens.create(store, "web", "ingest", organisation_id=7)
    found = tokens.authenticate(store, made.secret)

    assert found == made.token
    assert (made.token.name, made.token.scope, made.token.bound_to) == ("web", "ingest", "organisation 7")
    (listed,) = tokens.listed(store)
    assert listed.last_used_at is not None
    assert before <= made.token.created_at <= listed.last_used_at


def test_authenticate__used_again_within_a_minute__is_not_noted_again(empty_product: Product) -> None:
    store = empty_product.postgres
    made = tokens.create(store, "web", "read")
    tokens.authenticate(store, made.secret)
    noted = tokens.listed(store)[0].last_used_at

    tokens.authenticate(store, made.secret)
    again = tokens.listed(store)[0].last_used_at
    empty_product.execute(
        "UPDATE analytics_pipeline.api_tokens SET last_used_at = last_used_at - interval '61 seconds'"
    )
    tokens.authenticate(store, made.secret)
    later = tokens.listed(store)[0].last_used_at

    assert noted is not None
    assert later is not None
    assert (again, later > noted) == (noted, True)


def test_token__in_the_database__is_its_hash_alone(empty_product: Product) -> None:
    made = tokens.create(empty_product.postgres, "web", "read")

    ((row, digest),) = empty_product.execute("SELECT t::text, token_hash FROM analytics_pipeline.api_tokens AS t")

    assert made.secret not in row
    assert digest == hashlib.sha256(made.secret.encode()).digest()
    assert len(made.secret) == len("apt_") + 43
    assert made.secret not in repr(made.token)


@pytest.mark.parametrize("secret", ["", "apt_", "apt_" + "x" * 43, "\ud800", "\x00", "x" * 100_000])
def test_authenticate__text_that_is_no_token__is_nobody(empty_product: Product, secret: str) -> None:
    tokens.create(empty_product.postgres, "web", "read")

    assert tokens.authenticate(empty_product.postgres, secret) is None


def test_revoke__token_in_use__ends_it_at_once_and_frees_its_name(empty_product: Product) -> None:
    store = empty_product.postgres
    old = tokens.create(store, "web", "read")

    ended = tokens.revoke(store, "web")
    new = tokens.create(store, "web", "read")

    assert (ended.id, ended.state) == (old.token.id, "revoked")
    assert tokens.authenticate(store, old.secret) is None
    assert tokens.authenticate(store, new.secret) == new.token
    assert [one.state for one in tokens.listed(store)] == ["revoked", "valid"]


def test_authenticate__token_that_has_expired__is_nobody(empty_product: Product) -> None:
    store = empty_product.postgres
    made = tokens.create(store, "web", "read", lifetime=timedelta(days=90))
    lasting = tokens.authenticate(store, made.secret)

    empty_product.execute("UPDATE analytics_pipeline.api_tokens SET expires_at = clock_timestamp()")

    assert lasting == made.token
    assert made.token.expires_at is not None
    assert abs(made.token.expires_at - made.token.created_at - timedelta(days=90)) < timedelta(seconds=1)
    assert tokens.authenticate(store, made.secret) is None
    assert tokens.listed(store)[0].state == "expired"


def test_create__name_in_use__is_refused_and_changes_nothing(empty_product: Product) -> None:
    store = empty_product.postgres
    made = tokens.create(store, "web", "read")

    with pytest.raises(TokenExists, match="analytics-pipeline token revoke web"):
        tokens.create(store, "web", "ingest", organisation_id=1)

    assert tokens.listed(store) == [made.token]


def test_revoke__no_such_token__is_refused(empty_product: Product) -> None:
    with pytest.raises(NoSuchToken, match="nothing was revoked"):
        tokens.revoke(empty_product.postgres, "web")


@pytest.mark.parametrize(("scope", "bound"), [("ingest", {}), ("read", {"organisation_id": 1, "account_id": 2})])
def test_create__bound_to_nothing_or_too_much__is_refused_by_the_database(
    empty_product: Product, scope: tokens.Scope, bound: dict[str, int]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        tokens.create(empty_product.postgres, "web", scope, **bound)  # type: ignore[arg-type]
