"""The calculator tool."""

from pydantic import Field

from archive_tool_runner.domain.arithmetic import evaluate
from archive_tool_runner.domain.expression import parse
from archive_tool_runner.domain.tool import Arguments, Tool
from archive_tool_runner.domain.values import format_value


class CalculatorArguments(Arguments):
    """What to compute."""

    expression: str = Field(description="e.g. (2 + 3) * 4, 15% of 80, sqrt(2), round(10/3, 2)")


def calculate(expression: str) -> str:
    """The value of an expression as decimal text; raises ExpressionInvalid."""
    return format_value(evaluate(parse(expression)))


def _run(arguments: CalculatorArguments) -> str:
    return calculate(arguments.expression)


CALCULATOR = Tool(
    name="calculator",
    description=(
        "Computes an arithmetic expression exactly: + - * / // % ** parentheses, percentages, and functions such as "
        "sqrt, round, min, max, log (base 10), ln, sin (radians), factorial, gcd."
    ),
    arguments=CalculatorArguments,
    run=_run,
)
