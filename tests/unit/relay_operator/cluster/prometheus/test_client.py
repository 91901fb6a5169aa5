"""Prometheus' adapter: one query a fetch, samples with their own times, one family of errors, strict in what it takes."""

import http.client
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Fetched, Prometheus
from relay_operator.cluster.prometheus.query import Labels
from relay_operator.decisions.analysis.evidence import Question
from relay_operator.decisions.analysis.scrapes import PodName, copied
from relay_operator.decisions.analysis.shadow_evidence import ShadowEvidence
from relay_operator.errors import MetricsUnavailable

URL = "http://prometheus.test"
POD = ("relay-a", "relay-1")
Reply = tuple[int, str]


class InProcess(BaseAdapter):
    """Sends requests to a function."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        super().__init__()
        self.requests: list[requests.PreparedRequest] = []
        self.queries: list[str] = []
        self._answer = answer

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        form = urlsplit(request.url or "").query or str(request.body)
        query = parse_qs(form)["query"][0]
        self.queries.append(query)
        self.requests.append(request)
        response = requests.Response()
        response.status_code, text = self._answer(query)
        response.raw = urllib3.HTTPResponse(io.BytesIO(text.encode()), preload_content=False)
        response.url = request.url or ""
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


def matrix(*series: dict[str, Any], **more: Any) -> Reply:
    data = {"resultType": "matrix", "result": list(series)}
    return 200, json.dumps({"status": "success", "data": data, **more})


def entry(*values: list[Any], pod: PodName = POD, **labels: str) -> dict[str, Any]:
    return {"metric": {"namespace": pod[0], "pod": pod[1], **labels}, "values": list(values)}


def about(*pods: PodName, since: float = 0.0, **changes: Any) -> Question:
    fields: dict[str, Any] = {
        "routes": frozenset({"chat"}),
        "signals": frozenset(),
        "tokens": False,
        "seconds": 7.5,
    }
    return Question(pods=dict.fromkeys(pods or (POD,), since), **(fields | changes))


@contextmanager
def prometheus(
    transport: InProcess, *, labels: Labels | None = None, **access: Any
) -> Iterator[Prometheus]:
    client = Prometheus(Access(url=URL, **access), labels=labels, transport=transport)
    try:
        yield client
    finally:
        client.close()


def read(answer: Callable[[str], Reply], question: Question | None = None) -> Fetched:
    with prometheus(InProcess(answer)) as client:
        return client.read(question or about())


async def test_a_fetch_is_one_query_over_the_last_scrapes_for_any_number_of_pods() -> None:
    transport = InProcess(lambda _: matrix(entry([10.0, "1"], x="1")))
    with prometheus(transport) as client:
        fetched = await client.fetch(about(POD, ("relay-b", "relay-2")))
    (query,) = transport.queries
    assert query.endswith("[8s]")
    assert 'namespace=~"relay-a|relay-b"' in query
    assert 'pod=~"relay-1|relay-2"' in query
    assert [(one.identity.pod, one.samples) for one in fetched.series] == [(POD, [(10.0, 1.0)])]


def test_shadow_copies_are_counted_from_what_prometheus_answers() -> None:
    counters = RelayCounters("relay-1", "relay-a")
    evidence = ShadowEvidence(scrape_seconds=2.0)
    evidence.follow({("relay-a", "chat"): "bbbbbbbbbbbb"})

    def answer(_: str) -> Reply:
        page = counters.page()
        return matrix(*({"metric": labels, "values": [[at, str(value)]]} for labels, value in page))

    found = []
    with prometheus(InProcess(answer)) as client:
        for at in (10.0, 12.0):
            counters.copy(("chat", "bbbbbbbbbbbb"), match=5, timeout=1)
            question = evidence.question({"relay-a": {"relay-1"}}, at=at)
            assert question is not None
            evidence.take(client.read(question).series, at=at)
            found.append(evidence.taken(("relay-a", "chat")))
    first, second = found
    assert first is not None
    assert second is not None
    assert sum(first[0].values()) == 0
    assert {name: count for name, count in second[0].items() if count} == {
        copied("canary", "match"): 5,
        copied("canary", "timeout"): 1,
    }
    assert second[1] == 2.0


def queried(question: Question, labels: Labels | None = None) -> str:
    transport = InProcess(lambda _: matrix())
    with prometheus(transport, labels=labels) as client:
        client.read(question)
    return transport.queries[0]


def test_only_the_products_own_job_counts_and_only_what_is_judged() -> None:
    query = queried(about())
    assert 'job="relays-slo"' in query
    assert 'route=~"|chat"' in query
    assert 'side=~"|stable|canary"' in query
    for absent in ("slow", "timed", "tokens", "reported", "overhead"):
        assert absent not in query
    judged = queried(about(signals=frozenset({"Total", "FirstToken"}), tokens=True))
    assert 'signal=~"|FirstToken|Total"' in judged
    for present in ("slow|timed", "relay_slo_tokens_total", "reported"):
        assert present in judged


def test_the_scrapers_labels_are_the_platforms_to_name() -> None:
    labels = Labels(
        job='it\'s "mine"', job_label="scrape", namespace_label="k8s_ns", pod_label="k8s_pod"
    )
    query = queried(about(("relay-a.b", "relay-1")), labels)
    assert r'scrape="it' in query
    assert r"\"mine\"" in query
    assert 'k8s_ns=~"relay-a[.]b"' in query
    assert 'k8s_pod=~"relay-1"' in query
    transport = InProcess(
        lambda _: matrix(
            {"metric": {"k8s_ns": "relay-a", "k8s_pod": "relay-1"}, "values": [[1, "2"]]}
        )
    )
    with prometheus(transport, labels=labels) as client:
        assert client.read(about()).series[0].identity.pod == POD


def test_what_nobody_asked_for_is_left_out() -> None:
    other = entry([10, "1"], pod=("relay-b", "relay-1"))
    nameless = {"metric": {"pod": "relay-1"}, "values": [[10, "1"]]}
    assert read(lambda _: matrix(other, nameless)).series == ()


def test_only_samples_that_are_news_are_read() -> None:
    values = [[10, "1"], [12, "2"], [14, "3"]]
    fetched = read(lambda _: matrix(entry(*values), entry([10, "7"])), about(since=10))
    assert [one.samples for one in fetched.series] == [[(12.0, 2.0), (14.0, 3.0)]]


def test_samples_keep_their_own_times_and_what_is_no_number_is_left_out() -> None:
    counter = entry([10.5, "1"], [12.5, "NaN"], [14.5, "3"])
    stale = entry([10, "+Inf"])
    empty = {"metric": {"namespace": "relay-a", "pod": "relay-1"}}
    fetched = read(lambda _: matrix(counter, stale, empty))
    assert [one.samples for one in fetched.series] == [[(10.5, 1.0), (14.5, 3.0)]]


@pytest.mark.parametrize("value", ["1e300", "-1", "NaN", "+Inf", "-Inf"])
def test_what_no_counter_can_be_is_no_sample(value: str) -> None:
    assert read(lambda _: matrix(entry([10, value]))).series == ()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((503, "busy"), "did not answer: HTTP Status Code 503"),
        ((401, "who are you"), "did not answer: HTTP Status Code 401"),
        ((302, ""), "did not answer: HTTP Status Code 302"),
        ((200, "no json"), "something else than samples"),
        ((200, "{}"), "something else than samples"),
        ((200, "[]"), "something else than samples"),
        ((200, "NaN"), "something else than samples"),
        ((200, '{"status":"success","data":null}'), "something else than samples"),
        (
            (200, '{"status":"error","data":{"resultType":"matrix","result":[]}}'),
            "something else than samples",
        ),
        (
            (200, '{"status":"success","data":{"resultType":"vector","result":[]}}'),
            "something else than samples",
        ),
        (
            (200, '{"status":"success","data":{"resultType":"matrix","result":{}}}'),
            "something else than samples",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_that_cannot_be_used_is_no_evidence(answer: Reply, why: str) -> None:
    with pytest.raises(MetricsUnavailable, match=why):
        read(lambda _: answer)


def test_an_answer_that_is_not_whole_is_no_evidence() -> None:
    series = entry([10, "1"])
    with pytest.raises(MetricsUnavailable, match="not whole: store-2 did not answer"):
        read(lambda _: matrix(series, warnings=["store-2 did not\n answer" + "." * 5000]))
    # remarks on the query itself are none
    assert read(lambda _: matrix(series, warnings=[], infos=["not a counter"])).series


def test_thanos_is_told_to_fail_rather_than_leave_something_out() -> None:
    transport = InProcess(lambda _: matrix())
    with prometheus(transport) as client:
        client.read(about())
    assert "partial_response=false" in str(transport.requests[0].url)


@pytest.mark.parametrize("one", [1, [], {"values": [[1]]}, {"metric": 5}])
def test_what_is_no_series_is_no_evidence(one: Any) -> None:
    with pytest.raises(MetricsUnavailable, match="something else"):
        read(lambda _: matrix(one))


@pytest.mark.parametrize("values", [5, [[1]], [[1, "x"]], [["x", "1"]], [[None, "1"]], [[1, None]]])
def test_what_is_no_sample_is_no_evidence(values: Any) -> None:
    with pytest.raises(MetricsUnavailable, match="something else"):
        read(lambda _: matrix({**entry(), "values": values}))


def test_a_prometheus_that_is_away_is_asked_once_and_no_evidence() -> None:
    asked: list[str] = []

    def away(query: str) -> Reply:
        asked.append(query)
        raise requests.ConnectionError("refused")

    with pytest.raises(MetricsUnavailable, match="no connection could be made"):
        read(away)
    assert len(asked) == 1


def test_a_long_question_stands_in_the_body() -> None:
    transport = InProcess(lambda _: matrix())
    with prometheus(transport) as client:
        client.read(about())
        client.read(about(*((f"relay-{n}", f"relay-pod-{n}") for n in range(200))))
    assert [request.method for request in transport.requests] == ["GET", "POST"]
    assert all(len(str(request.url)) < 2500 for request in transport.requests)
    assert "relay-pod-199" in transport.queries[1]


# -- floods --------------------------------------------------------------------------------------------------------------


def a_flood(query: str) -> Reply:
    """Answers for quiet namespaces and one that floods, as far as the query asks for them."""
    spaces = query.partition('namespace=~"')[2].partition('"')[0].split("|")
    loud = [entry([10, "1"], pod=("relay-loud", "relay-1"), x="y" * 20_000_000)]
    return matrix(
        *(entry([10, "1"], pod=(one, "relay-1")) for one in spaces if one != "relay-loud"),
        *(loud if "relay-loud" in spaces else []),
    )


def test_a_namespace_that_floods_is_left_out_alone() -> None:
    transport = InProcess(a_flood)
    quiet = [f"relay-{n:02}" for n in range(20)]
    question = about(*((space, "relay-1") for space in (*quiet, "relay-loud")))
    with prometheus(transport) as client:
        for _ in range(2):
            fetched = client.read(question)
            assert {one.identity.pod[0] for one in fetched.series} == set(quiet)
            assert fetched.crowded == {"relay-loud"}
    # asked for by halves until it stood alone, and then no more
    assert sum("loud" in query for query in transport.queries) <= 6
    assert "loud" not in transport.queries[-1]


def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read1(self, amount: int = -1) -> bytes:
            self.given += amount
            return b" " * amount

        read = read1

    answers: list[Endless] = []

    class Hostile(InProcess):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            response = super().send(*args, **kwargs)
            answers.append(Endless())
            response.raw = urllib3.HTTPResponse(answers[-1], preload_content=False)
            return response

    with prometheus(Hostile(lambda _: matrix())) as client:
        fetched = client.read(about())
    assert fetched.series == ()
    assert fetched.crowded == {"relay-a"}
    assert sum(endless.given for endless in answers) < 16 * 1024 * 1024


# -- credentials ---------------------------------------------------------------------------------------------------------


def a_file(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def sent(**access: Any) -> requests.PreparedRequest:
    transport = InProcess(lambda _: matrix())
    with prometheus(transport, **access) as client:
        client.read(about())
    return transport.requests[0]


def test_a_token_is_read_anew_for_each_query(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    transport = InProcess(lambda _: matrix())
    with prometheus(transport, token_file=str(token)) as client:
        client.read(about())
        token.write_text("second\n")
        client.read(about())
    seen = [request.headers["Authorization"] for request in transport.requests]
    assert seen == ["Bearer first", "Bearer second"]


def test_a_user_name_and_a_password_make_basic_authentication(tmp_path: Path) -> None:
    request = sent(
        username_file=a_file(tmp_path, "username", "relay"),
        password_file=a_file(tmp_path, "password", "s3cret\n"),
    )
    assert request.headers["Authorization"] == "Basic cmVsYXk6czNjcmV0"


def test_the_platforms_headers_are_sent() -> None:
    assert sent(headers={"X-Scope-OrgID": "platform"}).headers["X-Scope-OrgID"] == "platform"


@pytest.mark.parametrize("text", ["", " \n", "one\ntwo", "a\x00b"])
def test_what_is_no_credential_is_not_sent_and_not_told(tmp_path: Path, text: str) -> None:
    path = a_file(tmp_path, "token", text)
    with pytest.raises(MetricsUnavailable, match="holds no credential") as caught:
        sent(token_file=path)
    assert path in str(caught.value)
    assert "two" not in str(caught.value)


def test_a_missing_credential_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(MetricsUnavailable, match=r"cannot be read from .*token"):
        sent(token_file=str(tmp_path / "token"))


def test_a_missing_certificate_is_named_by_its_path(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.crt")
    client = Prometheus(Access(url="https://prometheus.invalid", ca_file=missing))
    try:
        with pytest.raises(MetricsUnavailable, match=f"did not answer: .*{missing}"):
            client.read(about())
    finally:
        client.close()


class Breaking(BaseAdapter):
    """Sends an answer with this status and address whose body ends as given: with the error, or where it is read too far."""

    def __init__(self, error: Exception, *, status: int = 200, location: str = "") -> None:
        super().__init__()
        self._error, self._status, self._location = error, status, location
        self.read_bytes = 0

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        response = requests.Response()
        response.status_code, response.raw = self._status, self
        if self._location:
            response.headers["location"] = self._location
        response.url, response.request = request.url or "", request
        return response

    def read1(self, amount: int, *, decode_content: bool) -> bytes:
        if self.read_bytes:
            raise self._error
        self.read_bytes += amount
        return b" " * amount

    def read(self, amount: int, *, decode_content: bool) -> bytes:
        raise AssertionError("read without a limit")

    def close(self) -> None:
        """Nothing is open."""

    def release_conn(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "error",
    [
        urllib3.exceptions.ProtocolError("reset"),
        urllib3.exceptions.IncompleteRead(1, 2),
        http.client.IncompleteRead(b""),
        ConnectionResetError("reset"),
    ],
)
def test_an_answer_that_breaks_off_is_none(error: Exception) -> None:
    client = Prometheus(Access(url=URL), transport=Breaking(error))
    try:
        with pytest.raises(MetricsUnavailable, match="did not answer"):
            client.read(about())
    finally:
        client.close()


@pytest.mark.parametrize("location", ["/elsewhere", "javascript:x", "http://xn--/"])
def test_the_body_of_a_redirect_is_read_as_others_are(location: str) -> None:
    transport = Breaking(ConnectionResetError("reset"), status=307, location=location)
    client = Prometheus(Access(url=URL), transport=transport)
    try:
        with pytest.raises(MetricsUnavailable, match="did not answer"):
            client.read(about())
    finally:
        client.close()
    assert transport.read_bytes > 0


def test_a_redirect_is_not_followed_with_the_credentials(tmp_path: Path) -> None:
    token = a_file(tmp_path, "token", "s3cret")
    transport = InProcess(lambda _: (307, ""))
    with prometheus(transport, token_file=token) as client, pytest.raises(MetricsUnavailable):
        client.read(about())
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_message_holds_a_credential(tmp_path: Path, status: int) -> None:
    token = a_file(tmp_path, "token", "s3cret")
    transport = InProcess(lambda _: (status, "your token s3cret is wrong"))
    with (
        prometheus(transport, token_file=token) as client,
        pytest.raises(MetricsUnavailable) as caught,
    ):
        client.read(about())
    assert "s3cret" not in str(caught.value)


def test_certificates_are_those_of_the_files() -> None:
    seen: dict[str, Any] = {}

    class Noting(InProcess):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            seen.update(kwargs)
            return super().send(*args, **kwargs)

    files: dict[str, Any] = {
        "ca_file": "/ca.crt",
        "certificate_file": "/tls.crt",
        "key_file": "/tls.key",
    }
    with prometheus(Noting(lambda _: matrix()), **files) as client:
        client.read(about())
    assert (seen["verify"], seen["cert"]) == ("/ca.crt", ("/tls.crt", "/tls.key"))
