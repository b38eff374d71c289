"""Computes an expression tree."""

from fractions import Fraction

from archive_tool_runner.domain.errors import ExpressionInvalid
from archive_tool_runner.domain.expression import Binary, Call, Name, Node, Number, Postfix, Unary
from archive_tool_runner.domain.functions import CONSTANTS, FUNCTIONS, MANY
from archive_tool_runner.domain.values import (
    Value,
    bounded,
    divide,
    factorial,
    multiply,
    power,
    refuse_zero,
    refused,
    too_large,
)


def evaluate(node: Node) -> Value:
    """The value of a tree.

    Raises:
        ExpressionInvalid: division by zero, a value outside a function's domain, an unknown name, or a result that is
            too large.
    """
    # A long sum is a tree that is deep on its left only: walking that side in a loop keeps recursion to real nesting.
    spine: list[Binary] = []
    while isinstance(node, Binary):
        spine.append(node)
        node = node.left
    value = bounded(_leaf(node))
    for binary in reversed(spine):
        value = _binary(binary, value)
    return value


def _leaf(node: Number | Name | Unary | Postfix | Call) -> Value:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        return _constant(node.name, node.column)
    if isinstance(node, Call):
        return _call(node)
    value = evaluate(node.operand)
    if isinstance(node, Unary):
        return -value if node.operator == "-" else value
    return value / 100 if node.operator == "%" else factorial(value, node.column)


def _constant(name: str, column: int) -> float:
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in FUNCTIONS:
        raise refused(f"{name} is a function", f"Write {name}(...).", column)
    raise _unknown(name, column)


def _unknown(name: str, column: int) -> ExpressionInvalid:
    known = f"{', '.join(CONSTANTS)} and the functions {', '.join(sorted(FUNCTIONS))}"
    return refused(f"{name[:40]!r} is not known", f"Known are {known}.", column)


def _binary(node: Binary, left: Value) -> Value:
    right = evaluate(node.right)
    # 200 + 10% is 220, as on every pocket calculator.
    if node.operator in {"+", "-"} and isinstance(node.right, Postfix) and node.right.operator == "%":
        right = multiply(left, right)
    try:
        return bounded(_apply(node, left, right))
    except OverflowError as error:
        raise too_large(node.column) from error


def _apply(node: Binary, left: Value, right: Value) -> Value:  # noqa: PLR0911 - one return an operator
    match node.operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*" | "of":
            return left * right
        case "/":
            return divide(left, right, node.column)
        case "//":
            refuse_zero(right, node.column)
            whole = left // right
            return Fraction(whole) if isinstance(whole, int) else whole
        case "%":
            refuse_zero(right, node.column)
            return left % right
        case _:  # "**"
            return power(left, right, node.column)


def _call(node: Call) -> Value:
    function = FUNCTIONS.get(node.name)
    if function is None:
        if node.name in CONSTANTS:
            raise refused(f"{node.name} is a constant", f"Write {node.name} * (...).", node.column)
        raise _unknown(node.name, node.column)
    least, most, run = function
    count = len(node.arguments)
    if not least <= count <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}" if most < MANY else f"{least} or more"
        raise refused(
            f"{node.name} takes {wanted} argument{'s' if wanted != '1' else ''}, not {count}",
            "Inside a function commas separate arguments: write 1000, not 1,000.",
            node.column,
        )
    arguments = [evaluate(argument) for argument in node.arguments]
    try:
        return run(*arguments)
    except OverflowError as error:
        raise too_large(node.column) from error
    except ValueError as error:
        raise refused(f"{node.name} has no value there", "Check the argument.", node.column) from error
