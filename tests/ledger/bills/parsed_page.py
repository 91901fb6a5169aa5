"""A page of HTML as a reader takes it in: its tables, what is said of its charts, and that it needs nothing else."""

from html.parser import HTMLParser
from typing import Final

_VOID: Final = {"meta", "br", "rect", "line"}
_FETCHING: Final = {"src", "href", "xlink:href", "action", "poster", "data", "srcset"}


class ParsedPage(HTMLParser):
    """Reads a page strictly: every element is closed in its order, no id stands twice, nothing runs and nothing is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        assert text.startswith("<!doctype html>")
        self.ids: list[str] = []
        self.elements: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.charts: list[tuple[str, str]] = []
        self.style = ""
        self.headings: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self._labelled: list[str] = []
        self._said: dict[str, str] = {}
        self._id = ""
        self.feed(text)
        self.close()
        assert self._open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs)
        assert not _FETCHING & values.keys()
        assert not [name for name in values if name.startswith("on")]
        assert tag not in {"script", "link", "img", "iframe", "object", "base", "form", "a"}
        self.elements.append(tag)
        self._id = values.get("id") or ""
        if self._id:
            self.ids.append(self._id)
        if tag == "svg":
            assert values["role"] == "img"
            self._labelled = (values["aria-labelledby"] or "").split()
        if tag == "tr":
            self._rows.append([])
        if tag in {"th", "td", "caption", "title", "desc", "style", "h1", "h2"}:
            self._text = []
        if tag == "table":
            self._rows = []
        if tag not in _VOID or (tag == "rect" and not self.get_starttag_text().endswith("/>")):  # type: ignore[union-attr]
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        text = "".join(self._text)
        match tag:
            case "th" | "td":
                self._rows[-1].append(text)
            case "caption":
                self._caption = text
            case "table":
                self.tables[self._caption] = self._rows
            case "title" | "desc" if self._id:
                self._said[self._id] = text
                self._id = ""
            case "svg":
                title, description = (self._said[one] for one in self._labelled)
                self.charts.append((title, description))
            case "style":
                self.style = text
            case "h1" | "h2":
                self.headings.append(text)

    def table(self, beginning: str) -> list[list[str]]:
        """Returns the rows of the table whose caption begins so, its head among them."""
        [found] = [rows for caption, rows in self.tables.items() if caption.startswith(beginning)]
        return found
