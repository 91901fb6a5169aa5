"""Which models a provider's list lacks, found at the cost of the list and not of the list times their number."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from relay.calls.preflight.catalogue_probe import not_listed

ids = st.text(alphabet="ab/", max_size=6)


@given(st.lists(ids.filter(bool), max_size=6), st.sets(ids, max_size=12))
def test_a_model_is_listed_with_or_without_its_maker(names: list[str], listed: set[str]) -> None:
    assert not_listed(names, listed) == [
        name
        for name in names
        if name not in listed and not any(one.endswith("/" + name) for one in listed)
    ]


class CountedSet(set[str]):
    """Counts how often all of it is looked through."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return super().__iter__()


def test_the_list_is_looked_through_once_however_many_models_there_are() -> None:
    listed = CountedSet(f"maker/m{n}" for n in range(100))
    names = [f"m{n}" for n in range(50, 1050)]
    assert not_listed(names, listed) == names[50:]
    assert listed.passes == 1
