"""Documents with known facts on known pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from docx import Document
from fpdf import FPDF

FILLER = (
    "The committee met in the usual room and went through the agenda without hurry. "
    "Minutes of the last meeting were read and accepted. Several members asked for more light in the corridor. "
    "It was agreed to come back to the matter in spring. "
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence that answers a question, and the page it stands on."""

    question: str
    sentence: str
    page: int


FACTS = (
    Fact("How tall is the lighthouse of Port Ellery?", "The lighthouse of Port Ellery is 47 metres tall.", 2),
    Fact(
        "Who designed the suspension bridge at Kestrel Gorge?",
        "The suspension bridge at Kestrel Gorge was designed by Marta Lindqvist.",
        3,
    ),
    Fact(
        "In which year was the Halvorsen observatory founded?",
        "The Halvorsen observatory was founded in 1887 by two brothers.",
        4,
    ),
    Fact("What does the Brindle beetle feed on?", "The Brindle beetle feeds on the bark of young elder trees.", 5),
    Fact(
        "What is the warranty period of the Tarn water pump?",
        "The Tarn water pump has a warranty period of six years.",
        6,
    ),
    Fact(
        "Which metal is the bell of Saint Odo cast from?",
        "The bell of Saint Odo is cast from an alloy of tin and silver.",
        7,
    ),
    Fact("How many passengers does the Veranda ferry carry?", "The Veranda ferry carries 312 passengers in summer.", 8),
    Fact(
        "What colour is the flag of the Marrow Islands?",
        "The flag of the Marrow Islands is orange with a white heron.",
        9,
    ),
    Fact("Who won the Quillon chess tournament?", "The Quillon chess tournament was won by Ingrid Bao.", 10),
    Fact("At what temperature does Zephyr glass melt?", "Zephyr glass melts at 1430 degrees.", 11),
)
UNKNOWN = "Which orchestra recorded the second symphony of Balthasar Wrenfield?"


def pdf(facts: Sequence[Fact] = FACTS, *, pages: int = 12, title: str = "Almanac", dense: int = 1) -> bytes:
    """Return a PDF with each fact on its page, between ``dense`` times the filler; the same bytes for the same call."""
    document = FPDF(format="A4")
    document.set_creation_date(datetime(2024, 1, 1, tzinfo=UTC))
    document.set_title(title)
    document.set_font("Helvetica", size=11)
    on_page = {fact.page: fact.sentence for fact in facts}
    for number in range(1, pages + 1):
        document.add_page()
        document.multi_cell(0, 6, f"{FILLER * dense}{on_page.get(number, '')} {FILLER}")
    return bytes(document.output())


def docx(facts: Sequence[Fact]) -> bytes:
    """Return a DOCX with the facts in its paragraphs."""
    document = Document()
    document.add_heading("Almanac", level=1)
    for fact in facts:
        document.add_paragraph(FILLER)
        document.add_paragraph(fact.sentence)
    out = BytesIO()
    document.save(out)
    return out.getvalue()
