"""Markdown of models, documents and hostile people does nothing."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_console.adapters.markdown import Markdown
from archive_contracts.agents import Source

MARKDOWN = Markdown()
ALLOWED = {
    *("div", "p", "a", "span", "code", "pre", "em", "strong", "s", "ul", "ol", "li", "br", "hr", "blockquote"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"class", "href", "title", "rel", "target", "start"}
HOSTILE = Source(
    number=1,
    type="library",
    text="t",
    document_id='d"><script>alert(1)</script>',
    chunk_id="../../x",
    filename='x" onmouseover=alert(1) a="',
    page=3,
)
PIECES = st.sampled_from(
    [
        *(
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "[Source 1]",
            "`",
            "```",
            "\n",
            "\n\n",
            "|",
            "-",
        ),
        *("[x](javascript:alert(1))", '[x](http://a "[Source 1]")', "![x](http://evil/x.png)", "&lt;", "\\", '"', "'"),
        *("<a href=javascript:x>", "[Source 1]: http://evil", "<http://a>", "**", "> ", "1. ", "data:text/html,x", "["),
    ]
)


class Found(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def harm(self) -> list[object]:
        """Return the tags and attributes that could do something."""
        return [*(tag for tag in self.tags if tag not in ALLOWED), *filter(_harmful, self.attributes)]


def _harmful(attribute: tuple[str, str]) -> bool:
    name, value = attribute
    if name == "href":
        return value.strip().lower().startswith(("javascript:", "data:", "vbscript:", "file:"))
    return name not in ATTRIBUTES or (name == "target" and value != "_blank")


def shown(text: str) -> Found:
    return Found(str(MARKDOWN.html(text, [HOSTILE], turn="t")))


@given(st.lists(PIECES | st.text(max_size=12), max_size=14))
def test_any_text_does_nothing(pieces: list[str]) -> None:
    assert shown("".join(pieces)).harm() == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "a <b onclick=alert(1)>b</b>",
        "<style>body{display:none}</style>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    ],
)
def test_raw_html_is_shown_as_text(text: str) -> None:
    found = shown(text)
    assert set(found.tags) <= {"p"}
    assert found.harm() == []


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "java&#115;cript:alert(1)", "data:text/html,x", "vbscript:x"],
)
def test_links_run_nothing(target: str) -> None:
    found = shown(f"[click]({target}) <{target}>")
    assert "a" not in found.tags
    assert found.harm() == []


def test_images_are_not_fetched() -> None:
    assert "img" not in shown("![pixel](http://evil.example/x.png) ![a][b]\n\n[b]: http://evil.example/y.png").tags


def test_links_lead_outside_safely() -> None:
    html = str(MARKDOWN.html("[x](https://example.org)"))
    assert html == '<p><a href="https://example.org" rel="noopener noreferrer nofollow" target="_blank">x</a></p>\n'


def test_citation_opens_its_page() -> None:
    source = Source(number=1, type="library", text="t", document_id="d", chunk_id="c", filename="a.pdf", page=4)
    html = str(MARKDOWN.html("It is 47 m [Source 1]. See [Source 2].", [source], turn="t"))
    link = '<a class="cite" href="/documents/d/source/c?page=4&amp;turn=t" title="a.pdf, page 4">1</a>'
    assert html == f"<p>It is 47 m {link}. See [Source 2].</p>\n"


def test_remembered_source_has_no_page() -> None:
    html = str(MARKDOWN.html("So [Source 1]", [Source(number=1, type="memory", text="t")]))
    assert html == '<p>So <span class="cite" title="Remembered">1</span></p>\n'


@pytest.mark.parametrize("text", ["`[Source 1]`", "```\n[Source 1]\n```", "    [Source 1]"])
def test_code_keeps_its_text(text: str) -> None:
    html = str(MARKDOWN.html(text, [HOSTILE]))
    assert "[Source 1]" in html
    assert 'class="cite"' not in html


def test_citation_wins_over_link() -> None:
    found = shown("[a [Source 1] b](http://x.example)")
    assert found.harm() == []
    assert [value for name, value in found.attributes if name == "class"] == ["cite"]
    assert found.tags == ["p", "a"]


def test_title_cannot_be_broken_out_of() -> None:
    found = shown('[x](http://a "[Source 1]") [Source 1]')
    assert found.harm() == []
    assert [value for name, value in found.attributes if name == "title"] == [
        "[Source 1]",
        f"{HOSTILE.filename}, page 3",
    ]


def test_citation_cannot_be_redefined() -> None:
    html = str(MARKDOWN.html("See [Source 1].\n\n[Source 1]: http://evil.example", [HOSTILE]))
    assert "evil.example" not in html


def test_code_is_coloured() -> None:
    html = str(MARKDOWN.html("```python\nimport os # <b>\n```"))
    assert '<span class="kn">import</span>' in html
    assert "&lt;b&gt;" in html
    assert '<code class="language-nonsense">&lt;b&gt;' in str(MARKDOWN.html("```nonsense\n<b>\n```"))


def test_table_has_a_place_to_be_pushed_in() -> None:
    html = str(MARKDOWN.html("| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter."))
    assert html.startswith('<div class="scroll"><table>')
    assert "</table></div>\n<p>After.</p>" in html
