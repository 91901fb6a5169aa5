"""The text of a document is the same whether it is written at once or put together."""

from hypothesis import given
from hypothesis import strategies as st

from relay_contract import document
from relay_operator.manifests import composition
from relay_operator.manifests.document_text import Texts

a_word = st.text(alphabet='aé"\\{}[]:,€\n', min_size=1, max_size=6)
a_change = st.tuples(
    st.sampled_from("abc"),
    st.one_of(st.none(), st.tuples(st.sampled_from("pq"), st.integers(0, 100), a_word)),
)


@given(
    st.lists(a_change, max_size=12),
    st.lists(st.tuples(st.sampled_from("pq"), a_word), max_size=4),
    a_word,
)
def test_a_document_put_together_is_the_document(
    changes: list[tuple[str, tuple[str, int, str] | None]],
    headers: list[tuple[str, str]],
    tier: str,
) -> None:
    base = document.TenantDocument(name="a", uid="u", namespace="relay-a", tier=tier)
    routes: dict[str, document.Route] = {}
    providers = {name: document.Provider(name=name, url="https://example.com/v1") for name in "pq"}
    texts = Texts()
    for generation, (name, change) in enumerate(changes, start=1):
        routes.pop(name, None)
        if change is not None:
            provider, percent, salt = change
            stable = document.Side(provider=provider, fingerprint="0" * 12)
            canary = document.Side(provider="q", fingerprint="1" * 12)
            routes[name] = document.Route(
                name=name, stable=stable, canary=canary, canary_percent=percent, salt=salt
            )
        for provider, header in headers[generation - 1 : generation]:
            taken = {"headers": {"x-header": header}}
            providers[provider] = providers[provider].model_copy(update=taken)
        whole = composition.whole_document(base, routes.values(), providers, generation=generation)
        assert texts.payload(whole) == document.canonical_payload(whole)
