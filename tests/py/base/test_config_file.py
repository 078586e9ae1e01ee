import os
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base import config_file, config_values
from greenboost_py.base.config import Config, HooksConfig, RamConfig
from greenboost_py.base.config_text import documented_default, toml
from greenboost_py.base.config_values import parse_listen, size_text
from greenboost_py.base.errors import ConfigError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import Size, parse_size

MAIN = config_file.SYSTEM_FILE


def load(folder: Path, text: str | bytes | None = None, **drop_ins: str) -> Config:
    main = folder / MAIN
    (main.parent / "config.d").mkdir(parents=True, exist_ok=True)
    if text is not None:
        main.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, content in drop_ins.items():
        (main.parent / "config.d" / f"{name}.toml").write_text(content)
    return config_file.load(SysRoot(folder), MAIN)


def mistakes(folder: Path, text: str | bytes | None = None, **drop_ins: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **drop_ins)
    assert caught.value.lines == caught.value.mistakes
    assert str(caught.value) == "; ".join(caught.value.mistakes)
    return list(caught.value.mistakes)


def test_load_without_any_file_is_the_defaults(tmp_path: Path) -> None:
    assert config_file.load(SysRoot(tmp_path), MAIN) == Config()
    assert load(tmp_path) == Config()
    assert load(tmp_path, "") == Config()


def test_load_reads_every_type(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [ram]
        notice = "30%"
        warn = 4294967296
        [lease]
        reserve = "8GiB"
        clients_per_user = 7
        [poll]
        fastest_s = 1
        psi = false
        [notify]
        wall = "off"
        [hooks]
        on_warn = ["/bin/logger", "a b"]
        [metrics]
        listen = ""
        """,
    )
    assert (config.ram.notice, config.ram.warn) == (parse_size("30%"), Size(4 << 30))
    assert (config.lease.reserve, config.lease.clients_per_user) == (parse_size("8GiB"), 7)
    assert (config.poll.fastest_s, type(config.poll.fastest_s), config.poll.psi) == (1.0, float, False)
    assert (config.notify.wall, config.metrics.listen) == ("off", "")
    assert config.hooks == replace(HooksConfig(), on_warn=("/bin/logger", "a b"))


def test_load_takes_each_key_from_the_last_file_that_sets_it(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        'ram.notice = "31%"\nram.warn = "11%"\nram.critical = "1%"',
        **{"20-b": 'ram.warn = "13%"', "10-a": '[ram]\nwarn = "12%"\ncritical = "2%"', ".hidden": "nonsense"},
    )
    assert config == Config(ram=RamConfig(parse_size("31%"), parse_size("13%"), parse_size("2%")))


def test_load_leaves_out_what_is_not_named_toml(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "etc/greenboost/config.d/x.toml~").write_text("nonsense")
    (tmp_path / "etc/greenboost/config.d/README").write_text("nonsense")
    assert load(tmp_path) == Config()


FILE = f"/{MAIN}"
ANY_SIZE = 'write a size such as "8GiB", a share such as "20%", or a number of bytes'
SECONDS = "write a number of seconds from 0 to 1000000"

HOSTILE: list[tuple[str | bytes, str]] = [
    ("[rma]\n", f"{FILE}:1: there is no section 'rma'; did you mean 'ram'\\? There are ram, vram, gtt, .*"),
    ("\n'\\x1b[31m' = 1", f"{FILE}:2: there is no section .*; There are ram, .*"),
    ("notice = 1", f"{FILE}:1: notice stands in no section; write it below \\[ram\\] or \\[vram\\] or \\[gtt\\]"),
    ("ram = 1", f"{FILE}:1: ram is a section; write \\[ram\\], and its keys below"),
    ("[[ram]]", f"{FILE}:1: ram is a section; .*"),
    ("[ram]\nnotcie = 1", f"{FILE}:2: \\[ram\\] has no key 'notcie'; did you mean 'notice'\\? There are .*"),
    ("[ram.notice]\nx = 1", f"{FILE}:1: ram.notice: a table is not accepted; {ANY_SIZE}"),
    ("ram" + ".notice" * 3000 + " = 1", f"{FILE}:1: ram.notice: a table is not accepted; {ANY_SIZE}"),
    ("[ram]\nnotice = true", f"{FILE}:2: ram.notice: true is not accepted; {ANY_SIZE}"),
    ("[ram]\nnotice = -1", f"{FILE}:2: ram.notice: -1 is not accepted; {ANY_SIZE}"),
    ("[ram]\nnotice = 1.5", f"{FILE}:2: ram.notice: 1.5 is not accepted; {ANY_SIZE}"),
    ("[ram]\nnotice = 18446744073709551616", f"{FILE}:2: ram.notice: 18446744073709551616 is not accepted; .*"),
    ("[ram]\nnotice = " + "9" * 4000, f"{FILE}:2: ram.notice: a number that long is not accepted; .*"),
    ("[ram]\nnotice = " + "9" * 5000, f"{FILE}: not TOML: Exceeds the limit .*"),
    ('[ram]\nnotice = "101%"', f"{FILE}:2: ram.notice: '101%' is not a share: .*"),
    ('[ram]\nnotice = "8 apples"', f"{FILE}:2: ram.notice: '8 apples' is not a size: there is no unit 'apples'; .*"),
    (f'[ram]\nnotice = "{"x" * 9999}"', f"{FILE}:2: ram.notice: 'x{{59}}…' is not accepted; .*"),
    ("[ram]\nnotice = 2026-01-01", f"{FILE}:2: ram.notice: a date or time is not accepted; .*"),
    ("[poll]\nfastest_s = 0", f"{FILE}:2: poll.fastest_s: 0 is not accepted; write .* from 0.01 to 1000000"),
    ("[forecast]\nwarn_s = -0.1", f"{FILE}:2: forecast.warn_s: -0.1 is not accepted; {SECONDS}"),
    ("[forecast]\nwarn_s = nan", f"{FILE}:2: forecast.warn_s: nan is not accepted; {SECONDS}"),
    ("[forecast]\nwarn_s = inf", f"{FILE}:2: forecast.warn_s: inf is not accepted; {SECONDS}"),
    ("[forecast]\nwarn_s = " + "9" * 400, f"{FILE}:2: forecast.warn_s: a number that long is not accepted; {SECONDS}"),
    ("[forecast]\nwarn_s = true", f"{FILE}:2: forecast.warn_s: true is not accepted; {SECONDS}"),
    ('[forecast]\nwarn_s = "1"', f"{FILE}:2: forecast.warn_s: '1' is not accepted; {SECONDS}"),
    ("[poll]\npsi = 1", f"{FILE}:2: poll.psi: 1 is not accepted; write true or false"),
    ("[lease]\nclients_per_user = 0", f"{FILE}:2: lease.clients_per_user: 0 is not accepted; write a whole number .*"),
    ("[lease]\nclients_per_user = 1.0", f"{FILE}:2: lease.clients_per_user: 1.0 is not accepted; .*"),
    ("[lease]\nclients_per_user = true", f"{FILE}:2: lease.clients_per_user: true is not accepted; .*"),
    (
        '[notify]\nwall = "Warn"',
        f"""{FILE}:2: notify.wall: 'Warn' is not accepted; write "warn", "critical" or "off\"""",
    ),
    ("[notify]\nwall = ['warn']", f"{FILE}:2: notify.wall: an array is not accepted; .*"),
    ("[hooks]\non_ok = 'x'", f"{FILE}:2: hooks.on_ok: 'x' is not accepted; write the command .*"),
    ("[hooks]\non_ok = ['x', 1]", f"{FILE}:2: hooks.on_ok: an array is not accepted; .*"),
    ("[hooks]\non_ok = ['']", f"{FILE}:2: hooks.on_ok: an array is not accepted: the command's name is empty; .*"),
    ('[hooks]\non_ok = ["a\\u0000b"]', f"{FILE}:2: hooks.on_ok: an array is not accepted: it has a NUL in it; .*"),
    ("[metrics]\nlisten = 9477", f"{FILE}:2: metrics.listen: 9477 is not accepted; .*"),
    (
        "[metrics]\nlisten = '::1:9477'",
        f"{FILE}:2: metrics.listen: '::1:9477' is not accepted: it is not an address, .*",
    ),
    ("[ram]\nwarn = ", f"{FILE}:2: not TOML: .*"),
    ("[ram]\nwarn = 1\nwarn = 2", f"{FILE}:3: not TOML: .*"),
    ("[ram]\nwarn = 08", f"{FILE}:2: not TOML: .*"),
    ("x", f"{FILE}:1: not TOML: .*"),
    ("a = [" * 3000, f"{FILE}.*: (not TOML|tables or arrays are nested too deep).*"),
    ("a = " + "[" * 3000 + "]" * 3000, f"{FILE}.*: (not TOML|tables or arrays are nested too deep).*"),
    ("\0", f"{FILE}:1: not TOML: .*"),
    ("\ufeff[ram]", f"{FILE}:1: it starts with a byte order mark; .*"),
    (b"[ram]\n# \xff\n", f"{FILE}:2: not UTF-8, which TOML is written in: .*"),
    (b"\x7fELF\x02\x01\x01" + bytes(range(256)), f"{FILE}:.*: not UTF-8, .*"),
    (b"#" * (config_file.FILE_BYTES_MAX + 1), f"{FILE}: it is longer than 1 MiB, which no configuration is"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
def test_load_of_a_mistake_names_file_line_and_what_is_accepted(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    (line,) = mistakes(tmp_path, text)
    assert re.fullmatch(message, line)
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ram.warn = "50%"', f"{FILE}:1: ram.notice = 20% (by default) is less than ram.warn = 50%; .*"),
        ("ram.warn = '0.5%'", f"{FILE}:1: ram.warn = 0.5% is less than ram.critical = 5% (by default); .*"),
        ("[gtt]\nnotice = '8GiB'\n\ncritical = '9GiB'", f"{FILE}:2: gtt.notice = 8GiB is less than gtt.critical = 9GiB ({FILE}:4); .*"),
        ("vram.notice = '1%'", f"{FILE}:1: vram.notice = 1% is less than vram.warn = 2% (by default); .*"),
        ("poll.slowest_s = 0.05", f"{FILE}:1: poll.slowest_s = 0.05 is less than poll.fastest_s = 0.1 (by default); .*"),
        ("forecast.warn_s = 500", f"{FILE}:1: forecast.notice_s = 120 (by default) is less than forecast.warn_s = 500; .*"),
        ("forecast.warn_s = 0\nforecast.critical_s = 500", f"{FILE}:2: forecast.notice_s = 120 (by default) is less than forecast.critical_s = 500; .*"),
    ],
)  # fmt: skip
def test_load_of_values_that_do_not_fit_together_names_both(tmp_path: Path, text: str, message: str) -> None:
    (line,) = mistakes(tmp_path, text)
    assert re.fullmatch(message.replace("(", r"\(").replace(")", r"\)"), line)
    assert line.endswith("; it has to be at least as much")


def test_load_compares_what_is_merged_and_names_both_files(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "[ram]\nnotice = '9%'\nwarn = '8%'", a="\n\nram.warn = '10%'")
    other = "/etc/greenboost/config.d/a.toml:3"
    assert line.startswith(f"{FILE}:2: ram.notice = 9% is less than ram.warn = 10% ({other}); ")
    assert load(tmp_path, "[ram]\nnotice = '9%'\nwarn = '50%'", a="ram.warn = '8%'").ram.warn == parse_size("8%")


@pytest.mark.parametrize("text", ["ram.notice = 1", "ram.warn = '9TiB'", "forecast.notice_s = 0", "ram.warn = '20%'"])
def test_load_lets_be_what_only_the_machine_can_compare(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)


def test_load_tells_all_mistakes_of_all_files(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "[rma]\n[ram]\nwarn = -1\n[vram]\nwarn = '50%'", a="x", b="ram.notcie = 1")
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == [
        "config.toml:1",
        "config.toml:3",
        "a.toml:1",
        "b.toml:1",
    ]


def test_load_of_a_thousand_mistakes_tells_twenty_and_how_many_more(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "\n".join(f"x{number} = 1" for number in range(1000)))
    assert len(lines) == 21
    assert lines[-1] == "and 980 more mistakes in the configuration"


def test_load_of_a_folder_or_a_pipe_in_place_of_the_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / MAIN).mkdir(parents=True)
    assert mistakes(tmp_path) == [f"{FILE}: Is a directory; it should be a TOML file"]
    (tmp_path / MAIN).rmdir()
    os.mkfifo(tmp_path / MAIN)
    assert mistakes(tmp_path) == [f"{FILE}: not a regular file; it should be a TOML file"]


def test_load_of_links_in_a_circle_is_a_mistake(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / MAIN).symlink_to("config.toml")
    (line,) = mistakes(tmp_path)
    assert re.fullmatch(f"{FILE}: .*; it should be a TOML file", line)


def as_nobody(folder: Path, *required: bool) -> list[str]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError) as caught:
            config_file.load(SysRoot(folder), MAIN, *required)
    finally:
        os.seteuid(0)
    return list(caught.value.mistakes)


def test_load_of_a_closed_file_is_a_mistake(tmp_path: Path) -> None:
    load(tmp_path, "")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / MAIN).chmod(0o600)
    text = "it may not be read by this user; make it readable, or remove it"
    assert as_nobody(tmp_path) == [f"{FILE}: {text}"]
    (tmp_path / MAIN).unlink()
    (tmp_path / "etc/greenboost/config.d").chmod(0o700)
    assert as_nobody(tmp_path) == [f"/etc/greenboost/config.d: {text}"]


def test_load_of_a_named_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^/etc/greenboost/config\.toml: there is no such file$"):
        config_file.load(SysRoot(tmp_path), MAIN, required=True)
    (tmp_path / "mine.toml").write_text("ram.warn = '7%'")
    assert config_file.load(SysRoot(tmp_path), "mine.toml", required=True).ram.warn == parse_size("7%")


@pytest.mark.parametrize(
    ("environment", "uid", "path"),
    [
        ({}, 0, MAIN),
        ({}, 1000, MAIN),
        ({"HOME": "/home/u"}, 1000, "home/u/.config/greenboost/config.toml"),
        ({"HOME": "/root", "XDG_CONFIG_HOME": "/root/c"}, 0, MAIN),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "/c"}, 1000, "c/greenboost/config.toml"),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "c"}, 1000, "home/u/.config/greenboost/config.toml"),
        ({"HOME": "u"}, 1000, MAIN),
        ({"CONFIGURATION_DIRECTORY": "/etc/greenboost", "HOME": "/"}, 997, MAIN),
        ({"CONFIGURATION_DIRECTORY": "/a:/b"}, 0, "a/config.toml"),
        ({"CONFIGURATION_DIRECTORY": "relative", "HOME": "/h"}, 5, "h/.config/greenboost/config.toml"),
    ],
)
def test_default_file_is_the_services_the_systems_or_the_users(
    environment: dict[str, str], uid: int, path: str
) -> None:
    assert config_file.default_file(environment, uid) == path


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", None),
        ("127.0.0.1:9477", ("127.0.0.1", 9477)),
        ("127.255.0.9:1", ("127.255.0.9", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:80", ("localhost", 80)),
        ("0.0.0.0:9477", ("0.0.0.0", 9477)),
        ("[::]:9477", ("::", 9477)),
        ("192.168.0.1:9477", ("192.168.0.1", 9477)),
        ("[2001:db8::1]:9477", ("2001:db8::1", 9477)),
    ],
)
def test_parse_listen_of_an_address_is_address_and_port(text: str, place: tuple[str, int] | None) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    "text",
    [
        ":9477", "9477", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:9477 ",
        "192.168.0:9477", "224.0.0.1:9477", "[ff02::1]:9477", "[fe80::1%eth0]:9477", "::1:9477", "[127.0.0.1]:9477", "[localhost]:9477", "example.org:80",
        "127.0.0.1:\u0661\u0662", "127.1:80", "[::1%lo]:80", "http://localhost:80", "127.0.0.1:9477\n",
    ],
)  # fmt: skip
def test_parse_listen_of_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listen(text)


@given(st.text() | st.binary())
def test_load_of_any_text_is_a_configuration_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "c.toml").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    try:
        assert isinstance(config_file.load(SysRoot(folder), "c.toml"), Config)
    except ConfigError as error:
        assert all(line.startswith("/c.toml") and "\n" not in line for line in error.lines)


_KEYS = [key for section in config_values.sections() for key in config_values.keys(section).values()]
_VALUES = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "true",
        "0.5",
        "nan",
        "1e999",
        '"50%"',
        '"4GiB"',
        '"warn"',
        '""',
        "[]",
        '["a"]',
        "{}",
        "[[]]",
        "07:32:00",
    ]
)


@given(
    st.lists(
        st.tuples(st.sampled_from(_KEYS), _VALUES), max_size=6, unique_by=lambda pair: pair[0].section + pair[0].name
    )
)
def test_load_of_any_values_sets_exactly_those_or_names_a_line(
    tmp_path_factory: pytest.TempPathFactory, pairs: "list[tuple[config_values.Key, str]]"
) -> None:
    folder = tmp_path_factory.mktemp("values")
    (folder / "c.toml").write_text("".join(f"{key.section}.{key.name} = {value}\n" for key, value in pairs))
    try:
        config = config_file.load(SysRoot(folder), "c.toml")
    except ConfigError as error:
        assert all(re.match(r"/c\.toml:[1-6]: ", line) for line in error.lines)
        return
    given_ = {(key.section, key.name): key.parse(tomllib.loads(f"x = {value}")["x"]) for key, value in pairs}
    for key in _KEYS:
        value = getattr(getattr(config, key.section), key.name)
        assert value == given_.get((key.section, key.name), key.default)


def uncommented() -> str:
    return re.sub(r"^#(?=\S)", "", documented_default(), flags=re.MULTILINE)


def test_documented_default_sets_nothing_and_uncommented_every_default(tmp_path: Path) -> None:
    assert load(tmp_path, documented_default()) == Config()
    document = tomllib.loads(uncommented())
    assert load(tmp_path, uncommented()) == Config()
    for key in _KEYS:
        assert (key.name in document[key.section]) == (key.default is not None)
        assert f"# {key.help}\n" in documented_default()


def test_every_key_has_a_reader_that_takes_its_default_and_seconds_say_so() -> None:
    assert [field.name for field in fields(Config)] == list(config_values.sections())
    for key in _KEYS:
        if key.default is not None:
            assert key.parse(tomllib.loads(f"x = {toml(key.default)}")["x"]) == key.default
        assert (type(key.default) is float) == key.name.endswith("_s")


@pytest.mark.parametrize("text", ["20%", "0.5%", "0.000000001%", "100%", "33.333333333%", "4GiB", "3KiB", "1000", "0"])
def test_size_text_is_what_parse_size_reads(text: str) -> None:
    assert size_text(parse_size(text)) == text
