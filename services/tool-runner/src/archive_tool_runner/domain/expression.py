"""Arithmetic text to a tree: a tokenizer and a Pratt parser.

Written by hand rather than with a grammar generator because the meaning of `,` and `%` depends on where they stand
(a thousands separator or an argument separator, a percentage or a remainder), and because every error names a column.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from archive_tool_runner.domain.errors import ExpressionInvalid

MAX_LENGTH = 1000
MAX_DEPTH = 60  # three interpreter frames each: far below the recursion limit wherever the parser is called from
MAX_EXPONENT = 1000  # of a literal such as 1e30; a larger one would be computed just by reading it

UnaryOperator = Literal["+", "-"]
PostfixOperator = Literal["%", "!"]
BinaryOperator = Literal["+", "-", "*", "/", "//", "%", "**", "of"]


@dataclass(frozen=True)
class Number:
    """A literal, exact: 0.1 is one tenth."""

    value: Fraction


@dataclass(frozen=True)
class Name:
    """A constant such as pi."""

    name: str
    column: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Unary:
    """A sign before an operand."""

    operator: UnaryOperator
    operand: "Node"


@dataclass(frozen=True)
class Postfix:
    """A percentage or a factorial."""

    operator: PostfixOperator
    operand: "Node"
    column: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Binary:
    """Two operands and what to do with them; `column` is the operator's."""

    operator: BinaryOperator
    left: "Node"
    right: "Node"
    column: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Call:
    """A function and its arguments."""

    name: str
    arguments: tuple["Node", ...]
    column: int = field(default=0, compare=False)


Node = Number | Name | Unary | Postfix | Binary | Call

SUM, PRODUCT, SIGN, POWER = 10, 20, 30, 40
_INFIX: dict[str, tuple[BinaryOperator, int]] = {
    "+": ("+", SUM),
    "-": ("-", SUM),
    "*": ("*", PRODUCT),
    "x": ("*", PRODUCT),
    "/": ("/", PRODUCT),
    "//": ("//", PRODUCT),
    "%": ("%", PRODUCT),
    "mod": ("%", PRODUCT),
    "of": ("of", PRODUCT),
    "**": ("**", POWER),
}
# One character to one, so that columns stay those of the text that was given.
_SPELLINGS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "π": "p"})
_NUMBER = r"(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
_TOKEN = re.compile(
    rf"(?P<grouped>{_GROUPED})|(?P<number>{_NUMBER})|(?P<name>[A-Za-z_]+[0-9]*)|(?P<op>\*\*|//|[-+*/%!(),^])"
)
_TOKEN_IN_CALL = re.compile(_TOKEN.pattern.replace(rf"(?P<grouped>{_GROUPED})|", "", 1))
# "17 * 23 = 341": the question is still what the left side is.
_CLAIMED_RESULT = re.compile(r"=[\s0-9.,?-]*\Z")
_SPACES = re.compile(r"\s*")


@dataclass(frozen=True)
class _Token:
    kind: Literal["number", "name", "op", "end"]
    text: str
    start: int
    end: int


def parse(text: str) -> Node:
    """Parse an expression.

    Raises:
        ExpressionInvalid: it is empty, too long, too deeply nested, or wrong at a column that the message points to.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionInvalid(
            f"The expression has {len(text)} characters; at most {MAX_LENGTH} are allowed.",
            next_step="Split it and calculate the parts one by one.",
        )
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._shown = _CLAIMED_RESULT.sub("", text).rstrip()
        self._tokens = self._tokenize()
        self._index = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._peek.kind == "end":
            raise self._wrong(self._peek, "The expression is empty", "Write something like 2 * (3 + 4).")
        node = self._expression(0)
        token = self._peek
        if token.kind == "end":
            return node
        if token.text == ")":
            raise self._wrong(token, "This ')' closes nothing", "Remove it, or add the missing '('.")
        if token.text == ",":
            raise self._wrong(token, "Unexpected ','", "Group digits by three as in 1,234,567, or leave commas out.")
        raise self._wrong(token, f"An operator is missing before {token.text!r}", "Write '*' for a product.")

    def _expression(self, minimum: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(self._peek, f"Nested deeper than {MAX_DEPTH} levels", "Calculate the inner part first.")
        left = self._operand()
        while True:
            token = self._peek
            if token.text == "!" or (token.text == "%" and self._is_percentage()):
                self._index += 1
                left = Postfix("!" if token.text == "!" else "%", left, token.start + 1)
                continue
            found = _INFIX.get(token.text.lower()) if token.kind in {"op", "name"} else None
            if found is None or found[1] < minimum:
                break
            operator, power = found
            if operator == "of" and not _is_share(left):
                raise self._wrong(token, "'of' needs a percentage or a fraction before it", "Write 15% of 80.")
            self._index += 1
            # A power binds to the right and lets a sign stand in its exponent: 2**-3**2 is 2**(-(3**2)).
            right = self._expression(SIGN if power == POWER else power + 1)
            left = Binary(operator, left, right, token.start + 1)
        self._depth -= 1
        return left

    def _operand(self) -> Node:
        token = self._take()
        if token.kind == "number":
            return Number(self._value(token))
        if token.kind == "name":
            return self._call(token) if self._peek.text == "(" else Name(token.text.lower(), token.start + 1)
        if token.text == "-":
            return Unary("-", self._expression(SIGN))
        if token.text == "+":
            return Unary("+", self._expression(SIGN))
        if token.text == "(":
            inner = self._expression(0)
            self._close(token)
            return inner
        what = "The expression ends where a number is expected" if token.kind == "end" else ""
        raise self._wrong(token, what or f"A number is expected, not {token.text!r}", "Complete the expression.")

    def _call(self, name: _Token) -> Call:
        opening = self._take()
        arguments: list[Node] = []
        if self._peek.text != ")":
            arguments.append(self._expression(0))
            while self._peek.text == ",":
                self._index += 1
                arguments.append(self._expression(0))
        self._close(opening)
        return Call(name.text.lower(), tuple(arguments), name.start + 1)

    def _close(self, opening: _Token) -> None:
        token = self._take()
        if token.text == ")":
            return
        if token.kind == "end":
            raise self._wrong(opening, "This '(' is never closed", "Add the missing ')'.")
        raise self._wrong(token, f"')' or an operator is expected, not {token.text!r}", "Complete the expression.")

    def _is_percentage(self) -> bool:
        """Whether the `%` ahead means "per hundred" rather than the remainder of a division.

        It does where no operand follows. Before a sign both readings are grammar: `10% - 3` (tight, then spaced) is
        read as people write percentages, all else as Python does.
        """
        percent, after = self._tokens[self._index], self._tokens[self._index + 1]
        if after.kind == "end" or after.text.lower() in {")", ",", "*", "/", "//", "**", "%", "!", "of", "x", "mod"}:
            return True
        if after.text not in {"+", "-"}:
            return False
        before, beyond = self._tokens[self._index - 1], self._tokens[self._index + 2]
        return before.end == percent.start and percent.end < after.start and after.end < beyond.start

    def _value(self, token: _Token) -> Fraction:
        digits = token.text.replace(",", "").replace("_", "").lower()
        exponent = digits.partition("e")[2].lstrip("+-").lstrip("0")
        if len(exponent) > len(str(MAX_EXPONENT)) or int(exponent or 0) > MAX_EXPONENT:
            raise self._wrong(token, f"The exponent is beyond {MAX_EXPONENT}", "Use a smaller number.")
        return Fraction(digits)

    def _tokenize(self) -> list[_Token]:
        text = self._shown.translate(_SPELLINGS)
        tokens: list[_Token] = []
        calls: list[bool] = []  # for every open parenthesis: whether commas in it separate arguments
        position = 0
        while True:
            spaces = _SPACES.match(text, position)
            position = spaces.end() if spaces else position
            if position >= len(text):
                end = _Token("end", "", len(text), len(text))
                return [*tokens, end, end]  # twice, so that looking two ahead needs no care
            pattern = _TOKEN_IN_CALL if calls and calls[-1] else _TOKEN
            match = pattern.match(text, position)
            if match is None:
                bad = self._shown[position]
                raise self._wrong(
                    _Token("op", bad, position, position + 1),
                    f"The character {bad!r} is not understood",
                    "Use numbers, + - * / // % **, parentheses and functions.",
                )
            token = self._token(match)
            if token.text == "(":
                calls.append(bool(tokens) and tokens[-1].kind == "name" and tokens[-1].text.lower() not in _INFIX)
            elif token.text == ")" and calls:
                calls.pop()
            tokens.append(token)
            position = match.end()

    def _token(self, match: re.Match[str]) -> _Token:
        start, end = match.span()
        if self._shown[start] == "π":
            return _Token("name", "pi", start, start + 1)
        if match.lastgroup in {"number", "grouped"}:
            return _Token("number", match.group(), start, end)
        if match.lastgroup == "name":
            return _Token("name", match.group(), start, end)
        return _Token("op", "**" if match.group() == "^" else match.group(), start, end)

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._index]

    def _take(self) -> _Token:
        token = self._tokens[self._index]
        if token.kind != "end":
            self._index += 1
        return token

    def _wrong(self, token: _Token, what: str, next_step: str) -> ExpressionInvalid:
        column = token.start + 1
        return ExpressionInvalid(
            f"{what} (column {column}).\n{_pointer(self._shown, token.start)}\n", next_step=next_step, column=column
        )


def _is_share(node: Node) -> bool:
    return isinstance(node, Postfix) or (isinstance(node, Binary) and node.operator in {"/", "of"})


def _pointer(text: str, offset: int) -> str:
    """The neighbourhood of an offset with a caret below it, on two lines."""
    start = max(0, offset - 40)
    window = re.sub(r"\s", " ", text[start : offset + 30])
    return f"  {window}\n  {' ' * (offset - start)}^"
