"""Unit conversion by exact factors (NIST SP 811, appendix B)."""

import difflib
from dataclasses import dataclass
from fractions import Fraction

from pydantic import Field

from archive_tool_runner.domain.errors import ToolFailed
from archive_tool_runner.domain.tool import Arguments, Tool
from archive_tool_runner.domain.values import bounded, format_value


@dataclass(frozen=True)
class Unit:
    """value in the dimension's base unit = value * factor + offset"""

    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)


# dimension -> (names of one unit, factor to the dimension's base unit)
_TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "length": (
        ("mm millimeter millimetre", "0.001"),
        ("cm centimeter centimetre", "0.01"),
        ("m meter metre", "1"),
        ("km kilometer kilometre", "1000"),
        ("in inch inches", "0.0254"),
        ("ft foot feet", "0.3048"),
        ("yd yard", "0.9144"),
        ("mi mile", "1609.344"),
        ("nmi nautical_mile", "1852"),
    ),
    "mass": (
        ("mg milligram", "0.000001"),
        ("g gram", "0.001"),
        ("kg kilogram kilo", "1"),
        ("t tonne metric_ton", "1000"),
        ("oz ounce", "0.028349523125"),
        ("lb pound lbs", "0.45359237"),
        ("st stone", "6.35029318"),
    ),
    "volume": (
        ("ml milliliter millilitre", "0.001"),
        ("l liter litre", "1"),
        ("m3 cubic_meter cubic_metre", "1000"),
        ("tsp teaspoon", "0.00492892159375"),
        ("tbsp tablespoon", "0.01478676478125"),
        ("fl_oz fluid_ounce", "0.0295735295625"),
        ("cup", "0.2365882365"),
        ("pt pint", "0.473176473"),
        ("qt quart", "0.946352946"),
        ("gal gallon", "3.785411784"),
        ("imperial_gallon", "4.54609"),
    ),
    "area": (
        ("cm2 square_centimeter", "0.0001"),
        ("m2 square_meter square_metre", "1"),
        ("ha hectare", "10000"),
        ("km2 square_kilometer square_kilometre", "1000000"),
        ("ft2 square_foot square_feet sqft", "0.09290304"),
        ("acre", "4046.8564224"),
        ("mi2 square_mile", "2589988.110336"),
    ),
    "speed": (
        ("m/s meter_per_second", "1"),
        ("km/h kmh kph", "5/18"),
        ("mph mi/h", "0.44704"),
        ("kn knot kt", "463/900"),
        ("ft/s", "0.3048"),
    ),
    "time": (
        ("ms millisecond", "0.001"),
        ("s sec second", "1"),
        ("min minute", "60"),
        ("h hr hour", "3600"),
        ("d day", "86400"),
        ("wk week", "604800"),
    ),
    "data": (
        ("bit", "1/8"),
        ("b byte", "1"),
        ("kb kilobyte", "1000"),
        ("mb megabyte", "1000000"),
        ("gb gigabyte", "1000000000"),
        ("tb terabyte", "1000000000000"),
        ("kib kibibyte", "1024"),
        ("mib mebibyte", "1048576"),
        ("gib gibibyte", "1073741824"),
        ("tib tebibyte", "1099511627776"),
    ),
    "energy": (
        ("j joule", "1"),
        ("kj kilojoule", "1000"),
        ("cal calorie", "4.184"),
        ("kcal kilocalorie", "4184"),
        ("wh watt_hour", "3600"),
        ("kwh kilowatt_hour", "3600000"),
    ),
    "pressure": (
        ("pa pascal", "1"),
        ("kpa kilopascal", "1000"),
        ("bar", "100000"),
        ("atm atmosphere", "101325"),
        ("psi", "44482216152605/6451600000"),
    ),
}
_TEMPERATURES = {
    "c": Unit("temperature", Fraction(1), Fraction("273.15")),
    "k": Unit("temperature", Fraction(1)),
    "f": Unit("temperature", Fraction(5, 9), Fraction("459.67") * 5 / 9),
}
_TEMPERATURE_NAMES = {"celsius": "c", "centigrade": "c", "kelvin": "k", "fahrenheit": "f"}


def _units() -> dict[str, Unit]:
    units = dict(_TEMPERATURES)
    units |= {name: _TEMPERATURES[short] for name, short in _TEMPERATURE_NAMES.items()}
    for dimension, rows in _TABLE.items():
        for names, factor in rows:
            units |= dict.fromkeys(names.split(), Unit(dimension, Fraction(factor)))
    return units


_UNITS = _units()


class ConvertUnitsArguments(Arguments):
    """A quantity and the unit it is wanted in."""

    value: float = Field(allow_inf_nan=False)
    from_unit: str = Field(description="e.g. km, miles, kg, F", max_length=40)
    to_unit: str = Field(max_length=40)


def find_unit(name: str) -> Unit:
    """A unit by name or abbreviation, singular or plural, in any case; raises ToolFailed."""
    key = "_".join(name.lower().replace("°", "").replace("²", "2").replace("³", "3").replace(" per ", "/").split())
    unit = _UNITS.get(key) or _UNITS.get(key.removesuffix("s")) or _UNITS.get(key.removeprefix("degrees_"))
    if unit is None:
        near = difflib.get_close_matches(key, _UNITS, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known kinds: {', '.join(_TABLE)}, temperature."
        raise ToolFailed(f"The unit {name!r} is not known.", next_step=hint)
    return unit


def convert(value: Fraction, from_unit: str, to_unit: str) -> Fraction:
    """The same quantity in another unit; raises ToolFailed where the units measure different things."""
    source, target = find_unit(from_unit), find_unit(to_unit)
    if source.dimension != target.dimension:
        raise ToolFailed(
            f"{from_unit} measures {source.dimension} and {to_unit} measures {target.dimension}.",
            next_step="Convert between units of one kind.",
        )
    return (value * source.factor + source.offset - target.offset) / target.factor


def _run(arguments: ConvertUnitsArguments) -> str:
    # The shortest decimal of the double is what was written: 0.1 is meant as one tenth.
    value = bounded(convert(Fraction(repr(arguments.value)), arguments.from_unit, arguments.to_unit))
    return f"{format_value(value)} {arguments.to_unit}"


CONVERT_UNITS = Tool(
    name="convert_units",
    description="Converts length, mass, volume, area, speed, time, data, energy, pressure or temperature.",
    arguments=ConvertUnitsArguments,
    run=_run,
)
