"""A document as people have them, for the READMEs' picture."""

from datetime import UTC, datetime

from fpdf import FPDF

QUESTION = "How many months of notice does the tenant have to give?"
LEASE = """
1. The flat
The landlord lets to the tenant the flat on the second floor of 14 Harbour Street, with two rooms, a kitchen,
a bathroom and a cellar compartment. The tenant has been given three keys to the house and two to the flat.
The flat may be used for living in it only. Part of it may be sublet once the landlord has agreed in writing.

2. Rent and deposit
The rent is 940 euros a month and is due on the third working day. Heating and water are paid for in advance
with 160 euros a month and settled once a year. The deposit is 2,820 euros. The landlord keeps it apart from
his own money and returns it with interest no later than six months after the flat has been handed back.

3. Notice
The lease begins on 1 April 2025 and has no fixed end. The tenant has to give three months of notice in
writing. The landlord can give notice only for a reason that the law names, such as his own need of the flat.
Either side can end the lease at once where the other breaks it gravely.

4. Repairs
The tenant reports damage as soon as he sees it. Small repairs of up to 100 euros each are paid for by the
tenant, and no more than 300 euros a year. All else is paid for by the landlord. Walls may be painted in any
colour; when the flat is handed back they have to be white.
"""


def lease() -> bytes:
    """Return it as a PDF, a section a page."""
    document = FPDF(format="A4")
    document.set_creation_date(datetime(2025, 3, 14, tzinfo=UTC))
    document.set_title("Lease of 14 Harbour Street")
    for section in LEASE.strip().split("\n\n"):
        heading, _, text = section.partition("\n")
        document.add_page()
        document.set_font("Helvetica", style="B", size=15)
        document.multi_cell(0, 12, heading, new_x="LMARGIN", new_y="NEXT")
        document.set_font("Helvetica", size=11.5)
        document.multi_cell(0, 7, text.replace("\n", " "))
    return bytes(document.output())
