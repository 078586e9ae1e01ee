import tomllib

from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.toml_lines import key_lines


def test_key_lines_finds_tables_dotted_quoted_and_inline_keys() -> None:
    text = "\n".join(
        [
            "# [ram]",
            'poll.psi = true  # "x = 1',
            "ram = { warn = 1, critical = 2 }",
            "[ hooks ]",
            'on_ok = ["""',
            "on_warn = 1",
            '""",',
            "  # [ttm]",
            "]",
            '"on_w\\u0061rn" = []',
            "'on_critical' = ['''x''']",
            "[lease.deep.deeper]",
            "below = 1",
            "[[ttm]]",
            "limit = 1",
        ]
    )
    assert key_lines(text) == {
        ("poll",): 2,
        ("poll", "psi"): 2,
        ("ram",): 3,
        ("ram", "warn"): 3,
        ("ram", "critical"): 3,
        ("hooks",): 4,
        ("hooks", "on_ok"): 5,
        ("hooks", "on_warn"): 10,
        ("hooks", "on_critical"): 11,
        ("lease",): 12,
        ("lease", "deep"): 12,
        ("ttm",): 14,
        ("ttm", "limit"): 15,
    }


def test_key_lines_counts_lines_that_end_in_a_carriage_return_once() -> None:
    assert key_lines("[ram]\r\n\r\nwarn = 1\r\n") == {("ram",): 1, ("ram", "warn"): 3}


def test_key_lines_after_a_statement_that_is_too_long_are_not_known() -> None:
    text = "[ram]\nwarn = [\n" + "1,\n" * 500 + "]\ncritical = 2\n"
    tomllib.loads(text)
    assert key_lines(text) == {("ram",): 1}


def test_key_lines_of_keys_nested_without_end_are_those_of_the_first_two() -> None:
    assert key_lines("ram.warn" + ".x" * 2000 + " = 1") == {("ram",): 1, ("ram", "warn"): 1}


_NAMES = st.sampled_from(["ram", "warn", "a-b", '"quoted key"', "'x.y'"])
_VALUES = st.sampled_from(["1", '"""\na = 1\n[b]\n"""', "[\n1,\n2,\n]", "{ a = 1 }", "'''\n'''", "1979-05-27"])


@given(st.lists(st.tuples(_NAMES, _NAMES, _VALUES, st.integers(0, 2)), max_size=8, unique_by=lambda row: row[:2]))
def test_key_lines_of_a_text_made_line_by_line_are_where_the_keys_were_put(
    rows: list[tuple[str, str, str, int]],
) -> None:
    text, expected = "", {}
    for section, key, value, blank in rows:
        text += "\n" * blank
        path = tuple(next(iter(tomllib.loads(f"{name} = 1"))) for name in (section, key))
        expected[path] = text.count("\n") + 1
        text += f"{section}.{key} = {value}\n"
    assert {path: line for path, line in key_lines(text).items() if path in expected} == expected
