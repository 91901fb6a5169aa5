"""One object for all equal parts: of another type, or changeable, nothing is the same."""

from relay_operator.api import equal_parts
from relay_operator.api.custom_resource import Part
from relay_operator.api.equal_parts import equal_names, equal_part, with_equal_parts
from relay_operator.manifests import composable


class Leaf(Part):
    number: float | int = 0


class Branch(Part):
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = ()
    words: dict[str, str] | None = None
    numbers: tuple[float, ...] = ()


class Other(Part):
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = ()
    words: dict[str, str] | None = None
    numbers: tuple[float, ...] = ()


def test_equal_parts_are_one_object_and_the_whole_is_as_it_was() -> None:
    made = [Branch(leaf=Leaf(number=7), leaves=(Leaf(number=1), Leaf(number=2))) for _ in range(2)]
    before = made[0].model_dump_json()
    first, second = map(with_equal_parts, made)
    assert first is made[0]
    assert first.leaf is second.leaf
    assert first.leaves is second.leaves
    assert first.model_dump_json() == before
    assert equal_part(first) is equal_part(second)


def test_parts_of_another_type_or_value_are_others() -> None:
    models: list[Part] = [Other(), Branch(), Leaf(number=3), Leaf(number=4), Leaf(number=3.0)]
    models += [Branch(words={"a": "b"}), Branch(words={"a": "c"}), Branch(numbers=(3, 4))]
    assert len({id(equal_part(one)) for one in models}) == len(models)


def test_what_is_kept_of_a_part_is_what_it_was_made_of() -> None:
    for number in (1, 1.0, True, 1):
        # a document is compared as text
        assert equal_part(Branch(leaf=Leaf(number=number))).leaf.model_dump_json() == (
            Leaf(number=number).model_dump_json()
        )
    for words in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        assert [*(equal_part(Branch(words=words)).words or ())] == [*words]


def test_no_more_than_a_bounded_number_is_known() -> None:
    for number in range(3 * equal_parts._MOST_KNOWN):
        equal_part(Leaf(number=number))
    assert len(equal_parts._known) <= equal_parts._MOST_KNOWN
    assert equal_part(Leaf(number=5)) is equal_part(Leaf(number=5))


def test_tenants_that_ask_for_the_same_share_it() -> None:
    spec = {"queue": {"concurrency": 7}, "limits": {"requestsPerMinute": 60}}
    first, second = (
        with_equal_parts(composable.tenant({"metadata": {"name": n, "uid": n}, "spec": spec}))
        for n in ("a", "b")
    )
    assert first.spec is second.spec
    assert first.metadata.name == "a"


def test_sets_of_the_same_names_are_one_object_and_the_oldest_are_forgotten() -> None:
    first = equal_names(["a", "b"])
    assert first == {"a", "b"}
    assert equal_names(iter(("b", "a"))) is first
    assert equal_names(["a"]) == {"a"}
    assert equal_names(()) is equal_names(set())
    for number in range(3 * equal_parts._MOST_KNOWN):
        equal_names([str(number)])
    assert len(equal_parts._known_names) <= equal_parts._MOST_KNOWN
