"""The API server takes what the pages have in YAML for a reader to copy, every field of it."""

import pytest
from tests.cluster.session.clients import Client
from tests.contract.kinds import LEAST
from tests.contract.test_custom_resources import attempt
from tests.pages.manifests import Copied, Form, copied

ALL = {form: [one for one in copied() if one.form == form] for form in Form}


def place(one: Copied) -> str:
    return one.place


@pytest.mark.parametrize("one", ALL[Form.OBJECT], ids=place)
def test_a_whole_object_is_taken_as_it_stands(kubectl: Client, crds: None, one: Copied) -> None:
    body = one.content
    assert attempt(kubectl, body["kind"], body["metadata"]["name"], body["spec"]) == ""


@pytest.mark.parametrize("one", ALL[Form.SPEC], ids=place)
def test_a_part_of_a_spec_fits_into_that_of_a_kind(
    kubectl: Client, crds: None, one: Copied
) -> None:
    errors = {
        kind: attempt(kubectl, kind, "whole", least | one.content["spec"])
        for kind, least in LEAST.items()
    }
    assert "" in errors.values(), errors


@pytest.mark.parametrize("one", ALL[Form.GRANTS], ids=place)
def test_grants_are_those_of_a_tenant(kubectl: Client, crds: None, one: Copied) -> None:
    assert attempt(kubectl, "Tenant", "granted", {"tools": {"grants": one.content}}) == ""


def test_what_no_kind_has_is_refused(kubectl: Client, crds: None) -> None:
    """Shows that these tests look: a misspelt field is an error for every kind."""
    for kind, least in LEAST.items():
        assert "unknown field" in attempt(kubectl, kind, "wrong", least | {"speling": 1}), kind
