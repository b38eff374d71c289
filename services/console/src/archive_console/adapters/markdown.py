"""Markdown of models as HTML that can do nothing."""
# Pygments says little about its types:
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from archive_contracts.agents import Source


class Markdown:
    """Renders CommonMark with tables. Raw HTML is shown, not passed on; links lead outside in a new tab; no images.

    An image would be a request to wherever a model, or a document it read, says.
    """

    def __init__(self) -> None:
        self._engine = MarkdownIt("commonmark", {"html": False, "linkify": False, "highlight": _coloured})
        self._engine.enable(["table", "strikethrough"]).disable("image")
        self._engine.add_render_rule("link_open", _link)
        self._engine.add_render_rule("table_open", _wide)
        self._engine.add_render_rule("table_close", _wide_end)
        self._engine.inline.ruler.before("link", "citation", _cite)
        self._engine.add_render_rule("citation", _citation)

    def html(self, text: str, sources: Sequence[Source] = (), *, turn: str = "") -> Markup:
        """Return the HTML of a text.

        ``[Source N]`` becomes a link to the source of that number, where there is one and the mark is no code; ``turn``
        tells that page which answer the reader came from.
        """
        known = {source.number: (source, turn) for source in sources}
        return Markup(self._engine.render(text, {"sources": known}))  # noqa: S704 - the engine escapes what it is given


def address_of(source: Source, turn: str) -> str:
    """Return where a source is shown, or nothing: a remembered turn has no page of its own."""
    if source.type != "library" or not source.document_id:
        return ""
    chunk = f"/source/{quote(source.chunk_id, safe='')}" if source.chunk_id else ""
    query = urlencode({"page": source.page or 1} | ({"turn": turn} if turn else {}))
    return f"/documents/{quote(source.document_id, safe='')}{chunk}?{query}"


_MARK = re.compile(r"\[Source (\d{1,4})\]")


def _cite(state: Any, silent: bool) -> bool:
    """Read a citation; a rule of its own, since text that was replaced after rendering may stand in an attribute."""
    mark = _MARK.match(state.src, state.pos, state.posMax)
    known = state.env.get("sources", {}).get(int(mark[1])) if mark else None
    if mark is None or known is None:
        return False
    if not silent:
        state.push("citation", "a", 0).meta = {"known": known}
    state.pos = mark.end()
    return True


def _citation(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    del self, options, env
    source, turn = tokens[index].meta["known"]
    title = f"{source.filename or 'Remembered'}{f', page {source.page}' if source.page else ''}"
    address = address_of(source, turn)
    if not address:
        return str(Markup('<span class="cite" title="{}">{}</span>').format(title, source.number))
    return str(Markup('<a class="cite" href="{}" title="{}">{}</a>').format(address, title, source.number))


def _link(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    del options, env
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    return str(self.renderToken(tokens, index, {}, {}))


def _wide(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    """Put a table into a place of its own, in which a wide one is pushed sideways."""
    del self, tokens, index, options, env
    return '<div class="scroll"><table>\n'


def _wide_end(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    del self, tokens, index, options, env
    return "</table></div>\n"


def _coloured(code: str, language: str, attributes: str) -> str:
    del attributes
    try:
        lexer: Any = get_lexer_by_name(language) if language else None
    except ClassNotFound:
        lexer = None
    if lexer is None:
        return str(escape(code))
    formatter: Any = HtmlFormatter(nowrap=True)
    return str(highlight(code, lexer, formatter))
