import ast
import math
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_tool_runner.domain.arithmetic import evaluate
from archive_tool_runner.domain.calculator import calculate
from archive_tool_runner.domain.errors import ExpressionInvalid
from archive_tool_runner.domain.expression import MAX_LENGTH, Binary, Call, Name, Node, Number, Postfix, Unary, parse

POWERS = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "%": 20}


def show(node: Node, minimum: int = 0) -> str:  # noqa: PLR0911 - one return a kind of node
    """Write a tree with as few parentheses as precedence allows."""
    match node:
        case Number(value=value):
            return str(value)
        case Name(name=name):
            return name
        case Call(name=name, arguments=arguments):
            return f"{name}({', '.join(show(argument) for argument in arguments)})"
        case Unary(operator=operator, operand=operand):
            return grouped(f"{operator}{show(operand, 30)}", 30, minimum)
        case Postfix(operator=operator, operand=operand):
            return f"{show(operand, 50)}{operator}"
        case Binary(operator="**", left=left, right=right):
            return grouped(f"{show(left, 50)} ** {show(right, 30)}", 40, minimum)
        case Binary(operator=operator, left=left, right=right):
            power = POWERS[operator]
            return grouped(f"{show(left, power)} {operator} {show(right, power + 1)}", power, minimum)


def grouped(text: str, power: int, minimum: int) -> str:
    return f"({text})" if power < minimum else text


numbers = st.integers(0, 10**6).map(lambda value: Number(Fraction(value)))


def grow(nodes: st.SearchStrategy[Node], operators: list[str]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(Binary, st.sampled_from(operators), nodes, nodes),
        st.builds(Unary, st.sampled_from(["-", "+"]), nodes),
    )


python_trees = st.recursive(numbers, lambda nodes: grow(nodes, ["+", "-", "*", "/", "//", "%"]), max_leaves=12)
all_trees = st.recursive(
    numbers | st.sampled_from([Name("pi"), Name("e")]),
    lambda nodes: st.one_of(
        grow(nodes, ["+", "-", "*", "/", "//", "**"]),
        st.builds(Postfix, st.just("!"), nodes),
        st.builds(Call, st.sampled_from(["sqrt", "max"]), st.lists(nodes, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


class Exact(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name("Fraction", ast.Load()), [node], [])


def python_value(text: str) -> Fraction:
    """What Python's own grammar makes of the text, over fractions."""
    tree = ast.fix_missing_locations(Exact().visit(ast.parse(text, mode="eval")))
    return Fraction(eval(compile(tree, "<test>", "eval"), {"Fraction": Fraction}))


@given(python_trees)
def test_agrees_with_python(tree: Node) -> None:
    text = show(tree)
    try:
        expected = python_value(text)
    except ZeroDivisionError:
        with pytest.raises(ExpressionInvalid, match="Division by zero"):
            evaluate(parse(text))
    else:
        assert evaluate(parse(text)) == expected


@given(all_trees)
def test_printed_tree_parses_back(tree: Node) -> None:
    assert parse(show(tree)) == tree


@given(st.text(max_size=60) | st.text(alphabet="0123456789.,+-*/%^!()exof pi sqrtlog", max_size=60))
def test_any_text_answers_or_refuses(text: str) -> None:
    with suppress(ExpressionInvalid):
        assert calculate(text)


@given(all_trees)
def test_any_tree_computes_or_refuses(tree: Node) -> None:
    with suppress(ExpressionInvalid):
        assert calculate(show(tree))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2 + 3 * 4", "14"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("2 ** -1", "0.5"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.333333333333333"),
        ("15% of 80", "12"),
        ("1/4 of 80", "20"),
        ("200 + 10%", "220"),
        ("200 - 10% of 50", "195"),
        ("10 % 3", "1"),
        ("10 % -3", "-2"),
        ("10% - 3", "-2.9"),
        ("17 mod 5", "2"),
        ("1,234,567.5 × 2", "2469135"),
        ("1_000 ÷ 8 − 5", "120"),
        ("3 x 4 =", "12"),
        ("17*23 = 341", "391"),
        ("2^10", "1024"),
        ("5!", "120"),
        ("max(1,200)", "200"),
        ("max((1,200), 7)", "1200"),
        ("round(2.5) + round(-2.5)", "0"),
        ("round(2.675, 2)", "2.68"),
        ("sqrt(1/4) + 4**0.5", "2.5"),
        ("log(1000) + log2(8) + log(81, 3) + ln(e)", "11"),
        ("sin(π) + cos(0)", "1"),
        ("gcd(12, 18) * lcm(4, 6)", "72"),
        ("ceil(7/2) + floor(-7/2)", "0"),
        ("mean(1, 2, 6) + sum(1, 2) + hypot(3, 4)", "11"),
        ("min(3, pi)", "3"),
        ("10**400 / 3", "3.3333333333333e+399"),
        ("factorial(20)", str(math.factorial(20))),
        ("tan(0) + log(100, 3) - log(100, 3)", "0"),
        ("log(pi, pi)", "1"),
        ("cbrt(27) + trunc(2.9) + abs(-1)", "6"),
        ("pow(2, 5) + mod(7, 4) + exp(0)", "36"),
        ("degrees(pi) + radians(0)", "180"),
        ("(-8) ** 3.0", "-512"),
        ("0 ** 0 + (-1) ** 3", "0"),
        ("(-1) ** 4 + 1 ** 9 + 0 ** 9", "2"),
        ("2 ** 0.3 - 2 ** 0.3", "0"),
        ("7 // 2 - -7 // 2", "7"),
        ("7.5 // pi", "2"),
        ("+5 - +3", "2"),
        ("sqrt(pi)", "1.77245385090552"),
    ],
)
def test_computes_as_people_expect(expression: str, expected: str) -> None:
    assert calculate(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "2**99999999",
        "(1/3)**999999",
        "factorial(100000)",
        "99999!!",
        "1e1000 * 1e1000 * 1e1000 * 1e1000",
        "exp(1000)",
        "pi * 1e308 * 10",
        "2.5 ** 0.5 ** -20",
        "1e999999999",
        "lcm(factorial(1000), factorial(999) + 1)",
        "-" * 900 + "1",
        "(" * 900 + "1",
        "1+" * MAX_LENGTH + "1",
        "2**" * 300 + "2",
        "sqrt(10**401)",
        "float",
    ],
)
def test_hostile_input_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionInvalid):
        calculate(expression)


@pytest.mark.parametrize(
    ("expression", "column", "says"),
    [
        ("", 1, "empty"),
        ("2 + ", 4, "ends"),
        ("2 + )", 5, "number is expected"),
        ("(2 + 3", 1, "never closed"),
        ("2 + 3)", 6, "closes nothing"),
        ("(1 2)", 4, "operator is expected"),
        ("2(3)", 2, "missing"),
        ("1,23", 2, "','"),
        ("2 $ 3", 3, "'$'"),
        ("3 of 12", 3, "percentage"),
        ("4 / (2 - 2)", 3, "zero"),
        ("7 // 0", 3, "zero"),
        ("1 + foo(2)", 5, "not known"),
        ("1 + foo", 5, "not known"),
        ("1 + sqrt", 5, "function"),
        ("1 + pi(2)", 5, "constant"),
        ("sqrt(1,000)", 1, "1 argument"),
        ("log(1, 2, 3)", 1, "1 to 2 arguments"),
        ("max()", 1, "1 or more"),
        ("acos(2)", 1, "no value"),
        ("tan(pi/2)", 1, "no value"),
        ("(-8) ** 0.3", 6, "negative number"),
        ("0 ** -1", 3, "zero"),
        ("(2 ** 0.5) ** 99999", 12, "too large"),
    ],
)
def test_error_points_at_column(expression: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        calculate(expression)
    assert caught.value.column == column
    assert says in str(caught.value).lower()


@pytest.mark.parametrize("expression", ["sqrt(-1)", "ln(0)", "log(2, 1)", "factorial(-1)", "2.5!", "round(1, 99)"])
def test_undefined_values_are_refused(expression: str) -> None:
    with pytest.raises(ExpressionInvalid):
        calculate(expression)
