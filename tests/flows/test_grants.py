"""DDL for organisations' own users, which no engine of the tests can run: the text is kept as it is."""

import re
from pathlib import Path

from analytics_pipeline.flows.grants import grants
from analytics_pipeline.flows.row_policies import TENANT_COLUMNS

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "grants.sql": ("analytics", {1: [10, 11], 2: []}, ""),
    "grants_on_cluster.sql": ("analytics", {7: [70]}, " ON CLUSTER `main`"),
}


def test_grants__of_organisations__are_the_golden_files() -> None:
    made = {name: grants(*case) for name, case in CASES.items()}

    assert made == {name: (GOLDEN / name).read_text() for name in CASES}


def test_grants__every_statement__names_only_its_organisations_rows() -> None:
    text = grants("analytics", {1: [10], 2: [20]})
    policies = re.findall(
        r"POLICY OR REPLACE organisation_(\d) ON `analytics`.`(\w+)` USING (.+) TO organisation_(\d);", text
    )

    assert {(one, other) for one, _, _, other in policies} == {("1", "1"), ("2", "2")}
    assert all(
        condition in (f"organisation_id = {one}", f"project_id IN ({one}0)") for one, _, condition, _ in policies
    )
    assert {table for _, table, _, _ in policies} == {
        table for table, (tenant, _) in TENANT_COLUMNS.items() if tenant in ("organisation", "project")
    }


if __name__ == "__main__":
    for name, case in CASES.items():
        (GOLDEN / name).write_text(grants(*case))
