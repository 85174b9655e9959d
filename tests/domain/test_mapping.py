from __future__ import annotations

import pytest

from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import Listing
from flashd.domain.mapping import Counting, Known, is_sku, judge_cut_over, map_gaps, plan_entries, plan_import

SECOND = 1_790_000_000_000


def product(sku: str, item: str = "", **given: object) -> Product:
    return Product(sku=sku, ids={"item": item or sku.lower()}, **{"units": 5, **given})  # type: ignore[arg-type]


def entry(sku: str, item: str = "", source: str = "import") -> Entry:
    return Entry(sku=sku, ids={"item": item or sku.lower()}, source=source)


def known(*entries: Entry, stocked: tuple[str, ...] = (), **given: object) -> Known:
    return Known(
        entries={one.sku: one for one in entries},
        stocked=stocked,
        listings=given.get("listings", {}),  # type: ignore[arg-type]
        kits=given.get("kits", ()),  # type: ignore[arg-type]
    )


def test_only_what_the_pool_sells_is_mapped_for_the_rest_would_be_shown_as_nothing() -> None:
    plan = plan_import([product("TEE"), product("SET"), product("HAT")], known(stocked=("TEE", "CAP"), kits=("SET",)))
    assert [one.sku for one in plan.places] == ["TEE", "SET"]
    assert (plan.gaps.strange, plan.gaps.unmapped, plan.counts) == (("HAT",), ("CAP",), ())


def test_with_stock_what_was_never_counted_is_counted_and_mapped() -> None:
    plan = plan_import([product("TEE"), product("HAT", units=-2)], known(stocked=("TEE",)), stock=True)
    assert plan.counts == (Counting("HAT", 0),)
    assert [one.sku for one in plan.places] == ["TEE", "HAT"]
    assert plan.kept == {"TEE": "it is counted already"}


def test_overwrite_counts_again_but_never_a_figure_that_flashd_wrote_itself() -> None:
    rows = {"CAP": Listing(sku="CAP", exposed=3), "BAG": Listing(sku="BAG", figure=5, key="k")}
    before = known(stocked=("TEE", "CAP", "BAG"), listings=rows)
    plan = plan_import([product("TEE"), product("CAP"), product("BAG")], before, stock=True, overwrite=True)
    assert plan.counts == (Counting("TEE", 5),)
    assert sorted(plan.kept) == ["BAG", "CAP"]


def test_a_count_again_is_left_to_those_who_know_which_orders_it_contains() -> None:
    before = Known(entries={}, listings={}, stocked=("TEE", "CAP"), busy=("TEE",))
    plan = plan_import([product("TEE"), product("CAP")], before, stock=True, overwrite=True)
    assert (plan.counts, "held or sold" in plan.kept["TEE"]) == ((Counting("CAP", 5),), True)


def test_a_kit_and_what_the_platform_does_not_count_get_no_count() -> None:
    products = [product("SET"), product("TEE", tracked=False), product("CAP", units=None)]
    plan = plan_import(products, known(kits=("SET",)), stock=True)
    assert plan.counts == ()
    assert [one.sku for one in plan.places] == ["SET"]


def test_the_same_import_again_writes_nothing() -> None:
    products = [product("TEE", title="Tee"), product("CAP")]
    first = plan_import(products, known(), stock=True)
    done = known(*first.places, stocked=tuple(count.sku for count in first.counts))
    again = plan_import(products, done, stock=True)
    assert (again.places, again.counts, again.unchanged) == ((), (), 2)


def test_an_entry_made_by_hand_stays_unless_it_is_to_be_overwritten() -> None:
    before = known(entry("TEE", "mine", "hand"), stocked=("TEE",))
    plan = plan_import([product("TEE")], before)
    assert (plan.places, plan.kept) == ((), {"TEE": "its entry was made by hand"})
    assert [one.ids for one in plan_import([product("TEE")], before, overwrite=True).places] == [{"item": "tee"}]


def test_an_entry_whose_units_are_on_sale_there_is_not_pointed_elsewhere() -> None:
    before = known(entry("TEE", "old"), stocked=("TEE",), listings={"TEE": Listing(sku="TEE", figure=4)})
    assert "on sale" in plan_import([product("TEE")], before, overwrite=True).kept["TEE"]
    assert "on sale" in plan_entries([entry("TEE")], before).kept["TEE"]
    assert [one.ids for one in plan_entries([entry("TEE")], before, force=True).places] == [{"item": "tee"}]


def test_every_gap_of_a_platform_is_told() -> None:
    products = [
        product("", "1", title="No name"),
        product("DUP", "2"),
        product("DUP", "3"),
        product("TEE", "4", tracked=False),
        product("CAP", "5", oversells=True),
    ]
    plan = plan_import(products, known(entry("OLD", "9"), entry("HAT", "9"), stocked=("TEE", "CAP", "DUP", "HAT")))
    gaps = plan.gaps
    assert (gaps.nameless, gaps.doubled, gaps.uncounted, gaps.overselling) == (
        ("No name",),
        ("DUP",),
        ("TEE",),
        ("CAP",),
    )
    assert (gaps.unmapped, gaps.orphaned, gaps.shared, gaps.gone) == (
        ("DUP",),
        ("OLD",),
        ("HAT", "OLD"),
        ("HAT", "OLD"),
    )


def test_skus_without_ids_share_nothing() -> None:
    assert map_gaps({sku: Entry(sku=sku, ids={}) for sku in ("A", "B")}, ["A", "B"]).shared == ()


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 256, "\x00"])
def test_what_can_be_no_sku_is_none(text: str) -> None:
    assert not is_sku(text)


@pytest.mark.parametrize(
    ("configured", "counted", "ok", "said"),
    [
        (0, False, False, "write since = 2026-09-21T14:13:20Z: without it"),
        (SECOND, True, True, "as configured"),
        (SECOND - 60_000, False, True, "as configured"),
        (SECOND - 60_000, True, False, "count twice"),
        (SECOND + 60_000, True, False, "would take no stock"),
    ],
)
def test_the_cut_over_is_judged_by_what_the_figures_contain(
    configured: int, said: str, *, counted: bool, ok: bool
) -> None:
    found = judge_cut_over(configured, SECOND + 999, counted=counted)
    assert (found.ok, said in found.said) == (ok, True), found
