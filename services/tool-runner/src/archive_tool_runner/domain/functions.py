"""The calculator's constants and functions: name -> (least arguments, most arguments, what to run)."""

import math
from collections.abc import Callable
from fractions import Fraction

from archive_tool_runner.domain.values import (
    MAX_BITS,
    MAX_FRACTION_DIGITS,
    Value,
    bounded,
    factorial,
    integer,
    multiply,
    natural_log,
    power,
    refuse_zero,
    refused,
    sqrt,
)

MANY = 99

CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _round(value: Value, places: Value = Fraction(0)) -> Value:
    """Halves go away from zero, as people round, and not to the even neighbour, as Python does."""
    digits = integer(places, "The number of places")
    if abs(digits) > MAX_FRACTION_DIGITS:
        raise refused(f"At most {MAX_FRACTION_DIGITS} places can be kept", "Use fewer places.")
    scale = Fraction(10) ** digits
    # The shortest decimal of a float is what the person sees, hence what they expect to be rounded.
    exact = Fraction(repr(value)) if isinstance(value, float) else value
    whole = math.floor(abs(exact) * scale + Fraction(1, 2))
    return Fraction(-whole if exact < 0 else whole) / scale


def _log(value: Value, base: Value = Fraction(10)) -> Value:
    divisor = natural_log(base)
    if divisor == 0:
        raise refused("There is no logarithm to base 1", "Use another base.")
    result = natural_log(value) / divisor
    return _whole_log(value, base, result) if abs(result) <= MAX_BITS else result


def _whole_log(value: Value, base: Value, result: float) -> Value:
    """log(1000) is 3 and not 2.9999999999999996."""
    if not isinstance(value, Fraction) or not isinstance(base, Fraction):
        return result
    nearest = round(result)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    # A power longer than any value can be is not this one, and would take long to compute.
    whole = (bits - 1) * abs(nearest) <= MAX_BITS and base**nearest == value
    return Fraction(nearest) if whole else result


def _log2(value: Value) -> Value:
    return _log(value, Fraction(2))


def _clean(function: Callable[[float], float]) -> Callable[[Value], Value]:
    """sin(pi) is 0 to people; what is left of it in floating point is noise of the constant, not a result."""

    def run(value: Value) -> Value:
        result = function(float(value))
        return 0.0 if abs(result) < 1e-15 else result

    return run


def _plain(function: Callable[[float], float]) -> Callable[[Value], Value]:
    def run(value: Value) -> Value:
        return function(float(value))

    return run


def _tan(value: float) -> float:
    if abs(math.cos(value)) < 1e-15:
        raise ValueError("a pole")
    return math.tan(value)


def _cbrt(value: Value) -> Value:
    result = math.cbrt(value)
    nearest = round(result)
    return Fraction(nearest) if nearest**3 == value else result


def _gcd(*values: Value) -> Value:
    return Fraction(math.gcd(*(integer(value, "gcd") for value in values)))


def _lcm(*values: Value) -> Value:
    result = 1
    for value in values:
        result = math.lcm(result, integer(value, "lcm"))
        bounded(Fraction(result))
    return Fraction(result)


def _sum(*values: Value) -> Value:
    result: Value = Fraction(0)
    for value in values:
        result = bounded(result + value)
    return result


def _mean(*values: Value) -> Value:
    return _sum(*values) / len(values)


def _mod(left: Value, right: Value) -> Value:
    refuse_zero(right)
    return left % right


def _hypot(*values: Value) -> Value:
    return sqrt(_sum(*(multiply(value, value) for value in values)))


def _abs(value: Value) -> Value:
    return abs(value)


def _ceil(value: Value) -> Value:
    return Fraction(math.ceil(value))


def _floor(value: Value) -> Value:
    return Fraction(math.floor(value))


def _trunc(value: Value) -> Value:
    return Fraction(math.trunc(value))


def _max(*values: Value) -> Value:
    return max(values)


def _min(*values: Value) -> Value:
    return min(values)


Function = tuple[int, int, Callable[..., Value]]
FUNCTIONS: dict[str, Function] = {
    "abs": (1, 1, _abs),
    "acos": (1, 1, _plain(math.acos)),
    "asin": (1, 1, _plain(math.asin)),
    "atan": (1, 1, _plain(math.atan)),
    "average": (1, MANY, _mean),
    "cbrt": (1, 1, _cbrt),
    "ceil": (1, 1, _ceil),
    "cos": (1, 1, _clean(math.cos)),
    "degrees": (1, 1, _plain(math.degrees)),
    "exp": (1, 1, _plain(math.exp)),
    "factorial": (1, 1, factorial),
    "floor": (1, 1, _floor),
    "gcd": (1, MANY, _gcd),
    "hypot": (1, MANY, _hypot),
    "lcm": (1, MANY, _lcm),
    "ln": (1, 1, natural_log),
    "log": (1, 2, _log),
    "log10": (1, 1, _log),
    "log2": (1, 1, _log2),
    "max": (1, MANY, _max),
    "mean": (1, MANY, _mean),
    "min": (1, MANY, _min),
    "mod": (2, 2, _mod),
    "pow": (2, 2, power),
    "radians": (1, 1, _plain(math.radians)),
    "round": (1, 2, _round),
    "sin": (1, 1, _clean(math.sin)),
    "sqrt": (1, 1, sqrt),
    "sum": (1, MANY, _sum),
    "tan": (1, 1, _clean(_tan)),
    "trunc": (1, 1, _trunc),
}
