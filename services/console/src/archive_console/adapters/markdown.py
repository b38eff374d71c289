"""Markdown of models as HTML that can do nothing."""
# Pygments says little about its types:
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Any

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

    def html(self, text: str, sources: Sequence[Source] = ()) -> Markup:
        """Return the HTML of a text; ``[Source N]`` becomes a link to the source when there is one of that number."""
        rendered = str(self._engine.render(text))
        for source in sources:
            mark = Markup('<a class="cite" href="{}" title="{}">{}</a>').format(
                address_of(source), f"{source.filename}{f', page {source.page}' if source.page else ''}", source.number
            )
            rendered = rendered.replace(f"[Source {source.number}]", str(mark))
        return Markup(rendered)  # noqa: S704 - the engine escapes everything it is given


def address_of(source: Source) -> str:
    """Return where a source is shown; a remembered turn has no page of its own."""
    if source.type != "library" or not source.document_id:
        return "#"
    return f"/documents/{source.document_id}/source/{source.chunk_id}?page={source.page or 1}"


def _link(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    del options, env
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    return str(self.renderToken(tokens, index, {}, {}))


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
