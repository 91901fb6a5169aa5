"""A difference is told by fields and sizes: an Event never carries what a server wrote."""

from relay_operator.decisions.tools.differences import Change, Marks

BEFORE: Marks = {"name": ("a", 5), "description": ("b", 40)}


def words(before: Marks | None, after: Marks | None, *, is_new: bool = False) -> str:
    return Change(kind="tool", name="pay", is_new=is_new, before=before, after=after).words


def test_fields_that_changed_came_and_went_are_named_with_their_sizes() -> None:
    after = {"name": ("a", 5), "description": ("c", 4000), "annotations": ("d", 9)}
    assert (
        words(BEFORE, after)
        == "tool pay: annotations added (9 characters), description changed (40 to 4000 characters)"
    )
    assert words(after, BEFORE).startswith("tool pay: annotations removed")


def test_a_tool_that_was_never_approved_is_new() -> None:
    assert words(None, BEFORE, is_new=True) == "tool pay is new"


def test_what_no_operator_saw_is_told_without_fields() -> None:
    assert words(None, BEFORE) == "tool pay is another than the approved one"


def test_names_of_fields_are_a_servers_words_and_are_cut() -> None:
    after = {f"{'x' * 500}{number}\n": ("e", 1) for number in range(50)}
    found = words({}, after)
    assert len(found) < 400
    assert "\n" not in found
    assert found.endswith("46 fields more")
