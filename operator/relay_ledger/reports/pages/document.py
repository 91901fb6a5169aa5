"""The parts that every page has: its frame and style, facts, tables and notes. What is given as text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_STYLE: Final = (
    ":root{color-scheme:light dark;--ink:#111;--paper:#fff;--soft:#555;--line:#ccc;--warn:#a40000;"
    "--first:#1f5fa8;--second:#d98200;--third:#7a7a7a;--fourth:#a40000}"
    "@media (prefers-color-scheme:dark){:root{--ink:#eee;--paper:#151515;--soft:#aaa;--line:#444;--warn:#ff8a80;"
    "--first:#6fa8e8;--second:#ffb74d;--third:#9e9e9e;--fourth:#ff8a80}}"
    "body{font:14px/1.4 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60em;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.5em;margin:0 0 .2em}h2{font-size:1.15em;margin:2em 0 .4em;break-after:avoid}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em}"
    "dt{color:var(--soft)}dd{margin:0}table{border-collapse:collapse;width:100%;margin:1.5em 0}"
    "caption{text-align:left;color:var(--soft);padding:.2em 0}"
    "th,td{text-align:right;padding:.35em .5em;border-bottom:1px solid var(--line);vertical-align:top}"
    "th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}"
    "tbody th{color:var(--ink);font-weight:400}"
    "tfoot td,tfoot th{font-weight:700;color:var(--ink);border-bottom:3px double var(--ink)}small{color:var(--soft)}.draft{color:var(--warn)}"
    "figure{margin:1em 0;break-inside:avoid}svg{width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}"
    "@media print{:root{color-scheme:light;--ink:#111;--paper:#fff;--soft:#555;--line:#ccc;--warn:#a40000;"
    "--first:#1f5fa8;--second:#d98200;--third:#7a7a7a;--fourth:#a40000}"
    "body{margin:0;max-width:none}thead{display:table-header-group}tr{break-inside:avoid}"
    "rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}@page{size:A4;margin:18mm}}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """Returns a page with this title, also as its heading; body is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name(title)}</h1>{body}</body></html>\n"
    )


def name(text: str) -> str:
    """Returns what others wrote as HTML that changes neither the page nor the direction of what stands beside it."""
    return f"<bdi>{escape(text)}</bdi>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Returns a list of terms and what is to be said of each."""
    fields = "".join(f"<dt>{escape(term)}</dt><dd>{name(text)}</dd>" for term, text in pairs)
    return f"<dl>{fields}</dl>"


def notes(texts: Iterable[str]) -> str:
    """Returns small paragraphs."""
    return "".join(f"<p><small>{escape(text)}</small></p>" for text in texts)


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] = (),
    nothing: str = "Nothing was used.",
) -> str:
    """Returns a table; the first cell of a row is what the row is of. Without rows it says so."""
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(map(_row, rows))
    if not rows:
        body = f'<tr><td colspan="{len(heads)}">{escape(nothing)}</td></tr>'
    foot = f"<tfoot>{_row(total)}</tfoot>" if total and rows else ""
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{body}</tbody>{foot}</table>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    others = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
    return f'<tr><th scope="row">{name(first)}</th>{others}</tr>'
