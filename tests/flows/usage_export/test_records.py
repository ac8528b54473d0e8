import json
from contextlib import closing

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analytics_pipeline.flows.usage_export.records import EventReader
from tests.flows.usage_export.event_log import add_event, allow, run_of
from tests.product import Product

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
KEYS = TEXTS.filter(lambda text: text not in ("", "*"))
NOT_EXPORTED = "not exported: neither text nor number nor boolean"
VALUES = st.one_of(TEXTS, st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.lists(TEXTS, max_size=1))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(KEYS, VALUES, max_size=5), absent=st.lists(KEYS, min_size=1, max_size=2), text=TEXTS)
@example(
    {"%s": 1, "{k}": "'", 'q"\\': "\v\x01", "\u00e9": None, "\n": [], "aa": True, "b": False}, ["x"], "\\u0001\x7f"
)
def test_read__any_keys_values_and_texts__are_written_as_postgres_itself_writes_them(
    empty_product: Product, payload: dict[str, object], absent: list[str], text: str
) -> None:
    empty_product.execute(
        "TRUNCATE event_logs RESTART IDENTITY; TRUNCATE analytics_pipeline.event_logs_export_fields,"
        " analytics_pipeline.event_logs_export_allowlist"
    )
    some = [*payload][1:]
    allow(empty_product, **{"Some": [*some, *absent], "Every%s": ["*"], "O'ne": [absent[0]]})
    for name in ("Some", "Every%s", "O'ne"):
        add_event(empty_product, name, public_argument=json.dumps(payload), referrer=text, insert_id=text or None)

    run = run_of(empty_product)
    with closing(empty_product.postgres.open(autocommit=True)) as connection:
        read = EventReader.on(connection, empty_product.postgres, run.allowed, run.instance).read("{[1,4)}")

    assert read.batch is not None
    records = [json.loads(line) for line in read.batch.lines.split(b"\n")[:-1]]
    shown = {key: value if isinstance(value, str | int) else NOT_EXPORTED for key, value in payload.items()}
    expected = [{key: shown[key] for key in some}, shown, {key: shown[key] for key in absent[:1] if key in shown}]
    assert [record["public_argument"] for record in records] == [
        as_text
        for one in expected
        for ((as_text,),) in [empty_product.execute("SELECT (%s::jsonb)::text", json.dumps(one))]
    ]
    assert [(record["referrer"], record["insert_id"]) for record in records] == [(text, text or None)] * 3
