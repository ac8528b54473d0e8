"""Identity documents as DynamoDB stores them, of every kind: usual, odd, and such as are no identities."""

from typing import Any, TypeAlias

from hypothesis import strategies as st

from analytics_pipeline.flows.tenants import Environment
from tests.product import KEY

Wire: TypeAlias = dict[str, Any]

ENVIRONMENTS = (Environment(100, KEY, "Production", 10, 1), Environment(110, "ключ/2", "Other", 11, 1))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["2024-01-01", "2024-01-01T10:00:00Z", "10:00", "a.b", "a", "b", "`", "\\", '"', "\x00", "1", "true", "null", "NaN"]
)
digits = (
    st.integers(-(10**37), 10**37).map(str)
    | st.integers(2**63 - 2, 2**63 + 2).map(str)
    | st.integers(-(2**63) - 2, -(2**63) + 2).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=9).map(str)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}", fullmatch=True)
    | st.text("-+.0123456789eE", max_size=6)
    | st.sampled_from(["-0", "0", "1.0", "1E+20", "1e-7", "0.000001", "0.0000001", "-0.0000015", "00", "+1", "NaN", ""])
    | st.sampled_from(["1E+3", "1e400", "-1.5e-130", "00012", "-007.50", "2.50", "5.", ".5", "1_000", " 1", "٤٢", "²"])
    | st.integers(90, 130).map(lambda zeros: "7" + "0" * zeros)
)
scalar: st.SearchStrategy[Wire] = (
    st.fixed_dictionaries({"S": text})
    | st.fixed_dictionaries({"N": digits})
    | st.fixed_dictionaries({"BOOL": st.booleans()})
    | st.just({"NULL": True})
)
value: st.SearchStrategy[Wire] = st.one_of(
    *[scalar] * 6,
    st.sampled_from([{"B": "AA=="}, {"SS": ["a"]}, {"NS": ["1"]}, {"M": {}}, {"L": []}]),
    st.fixed_dictionaries({"L": st.lists(scalar, max_size=2)}),
    st.fixed_dictionaries({"M": st.dictionaries(text, scalar, max_size=2)}),
)
trait = st.fixed_dictionaries({"trait_key": st.fixed_dictionaries({"S": text})}, optional={"trait_value": value})
entry = st.one_of(
    *[trait.map(lambda fields: {"M": fields})] * 12,
    st.sampled_from([{"S": "x"}, {"M": {}}, {"NULL": True}, {"M": {"trait_key": {"N": "1"}}}]),
)
traits = st.one_of(
    *[st.fixed_dictionaries({"L": st.lists(entry, max_size=5)})] * 8,
    st.sampled_from([{"NULL": True}, {"S": "x"}, {"M": {}}, {"L": []}, {"L": [{"S": "x"}]}]),
)
system = st.one_of(
    st.just({"NULL": True}),
    st.fixed_dictionaries({"M": st.dictionaries(text, value, max_size=3)}),
    st.just({"S": "x"}),
)


_attributes = st.fixed_dictionaries(
    {
        "environment_api_key": st.sampled_from([{"S": item.key} for item in ENVIRONMENTS] * 4 + [{"S": "x"}]),
        "identifier": st.one_of(
            *[text.map(lambda own: {"S": own})] * 8, st.sampled_from([{"S": "ü" * 1024}, {"S": "ü" * 1025}, {"N": "1"}])
        ),
    },
    optional={
        "identity_traits": traits,
        "system_traits": system,
        "django_id": st.just({"NULL": True}) | st.just({"S": "7"}) | st.fixed_dictionaries({"N": digits}),
        "identity_features": st.just({"L": [{"M": {"feature": {"S": '"Item": {'}}}]}),
    },
)


@st.composite
def tables(draw: st.DrawFn) -> list[Wire]:
    """Whole tables; composite keys are unique, as a partition key is."""
    return [
        {"composite_key": {"S": f"key {number}"}, **draw(_attributes)} for number in range(draw(st.integers(0, 25)))
    ]
