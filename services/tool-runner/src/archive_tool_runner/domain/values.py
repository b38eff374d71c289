"""The numbers of the calculator: exact fractions, and floating point only where a value is irrational.

Every exact value is held below MAX_BITS and every power and factorial is measured before it is computed, so that the
worst expression the parser lets through takes milliseconds.
"""

import math
from fractions import Fraction

from archive_tool_runner.domain.errors import ExpressionInvalid

Value = Fraction | float

MAX_BITS = 13_280  # just under 4,000 decimal digits, which is also what Python will print
MAX_FACTORIAL = 1000
MAX_FRACTION_DIGITS = 30  # longer decimals are rounded
SIGNIFICANT_DIGITS = 15  # what a double holds for certain


def bounded(value: Value) -> Value:
    """The value itself; raises ExpressionInvalid where it is too large to go on with."""
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise too_large()
    elif not math.isfinite(value):
        raise too_large()
    return value


def too_large(column: int | None = None) -> ExpressionInvalid:
    """The refusal of a result beyond the bounds."""
    return refused("The result is too large to compute", "Use smaller numbers, up to about 4,000 digits.", column)


def refused(what: str, next_step: str, column: int | None = None) -> ExpressionInvalid:
    """An error that names the column where it is known."""
    where = f" (column {column})" if column else ""
    return ExpressionInvalid(f"{what}{where}.", next_step=next_step, column=column)


def multiply(left: Value, right: Value) -> Value:
    """The product, bounded."""
    return bounded(left * right)


def divide(left: Value, right: Value, column: int | None = None) -> Value:
    """The quotient; raises ExpressionInvalid on zero."""
    refuse_zero(right, column)
    return left / right


def refuse_zero(value: Value, column: int | None = None) -> None:
    """Raise ExpressionInvalid for a divisor of zero."""
    if value == 0:
        raise refused("Division by zero", "Check the divisor.", column)


def integer(value: Value, what: str) -> int:
    """The value as a whole number; raises ExpressionInvalid when it is none."""
    if value != int(value):
        raise refused(f"{what} needs whole numbers", "Round the argument first.")
    return int(value)


def power(base: Value, exponent: Value, column: int | None = None) -> Value:
    """Base to the exponent: exact for whole exponents and perfect square roots."""
    if base == 0 and exponent < 0:
        raise refused("Zero has no negative power, that is a division by zero", "Check the exponent.", column)
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator, column)
        if exponent == Fraction(1, 2):
            return sqrt(base)
    if base < 0 and exponent != math.floor(exponent):
        raise refused("A negative number has no real power with a fractional exponent", "Use a whole one.", column)
    return float(base) ** float(exponent)


def _whole_power(base: Fraction, exponent: int, column: int | None) -> Fraction:
    if base in {0, 1}:
        return base if exponent else Fraction(1)
    if base == -1:
        return Fraction(1 if exponent % 2 == 0 else -1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    # The result has at least (bits - 1) * exponent bits, so this refuses 9**9**9 without computing any of it.
    if (bits - 1) * abs(exponent) > MAX_BITS:
        raise too_large(column)
    return base**exponent


def sqrt(value: Value) -> Value:
    """The square root, exact where there is an exact one."""
    if value < 0:
        raise refused("A negative number has no real square root", "Check the sign.")
    if isinstance(value, Fraction):
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return math.sqrt(value)


def factorial(value: Value, column: int | None = None) -> Value:
    """n! for 0 <= n <= MAX_FACTORIAL."""
    number = integer(value, "A factorial")
    if number < 0:
        raise refused("A negative number has no factorial", "Check the sign.", column)
    if number > MAX_FACTORIAL:
        raise too_large(column)
    return Fraction(math.factorial(number))


def natural_log(value: Value) -> float:
    """ln; of a fraction also where it is outside a double's range."""
    if value <= 0:
        raise refused("Only positive numbers have a logarithm", "Check the sign.")
    if isinstance(value, Fraction):
        return math.log(value.numerator) - math.log(value.denominator)
    return math.log(value)


def format_value(value: Value) -> str:
    """Decimal text: integers and short decimals exactly, everything else to 15 significant digits."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    if value.denominator == 1:
        return str(value.numerator)
    digits = _terminating_digits(value.denominator)
    if digits is None or digits > MAX_FRACTION_DIGITS:
        return _rounded(value)
    scaled = abs(value.numerator) * 10**digits // value.denominator
    whole, fraction = divmod(scaled, 10**digits)
    return f"{'-' if value < 0 else ''}{whole}.{fraction:0{digits}d}"


def _terminating_digits(denominator: int) -> int | None:
    """How many decimals 1/denominator has, None where they never end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _rounded(value: Fraction) -> str:
    exponent = math.floor(natural_log(abs(value)) / math.log(10))
    if abs(exponent) < 300:  # well inside a double's range
        return f"{float(value):.{SIGNIFICANT_DIGITS}g}"
    mantissa = float(value / Fraction(10) ** exponent)
    return f"{mantissa:.{SIGNIFICANT_DIGITS - 1}g}e{exponent:+d}"
