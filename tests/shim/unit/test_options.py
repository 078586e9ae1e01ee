"""The environment as options: each kind, each default, and what is said of a value that cannot be used."""

import pytest
from shim_under_test import load

ffi, lib = load()


def read(environment):
    complaints = []
    kept = []

    @ffi.callback("const char *(const char *)")
    def lookup(variable):
        value = environment.get(ffi.string(variable).decode())
        if value is None:
            return ffi.NULL
        kept.append(ffi.new("char[]", value.encode()))
        return kept[-1]

    @ffi.callback("void(const char *, const char *, const char *)")
    def complain(variable, value, wanted):
        complaints.append(tuple(ffi.string(text).decode() for text in (variable, value, wanted)))

    options = ffi.new("struct gb_options *")
    lib.gb_options_read(options, lookup, complain)
    return options, complaints


def test_options_read_from_nothing_gives_the_defaults():
    options, complaints = read({})
    assert complaints == []
    assert not options.vram_limit.is_set
    assert not options.host_limit.is_set
    assert options.min_spill.value == 1 << 20
    assert options.fallback == lib.GB_FALLBACK_AUTO
    assert options.advertise.choice == lib.GB_ADVERTISE_OFF
    assert options.log == lib.GB_LOG_WARN
    assert not options.retry_first
    assert not options.disable


@pytest.mark.parametrize(("text", "value"), [("auto", 0), ("split", 1), ("host", 2), ("MANAGED", 3), ("off", 4)])
def test_options_read_of_a_choice_gives_its_position(text, value):
    assert read({"GREENBOOST_FALLBACK": text})[0].fallback == value


@pytest.mark.parametrize(("text", "level"), [("off", 0), ("error", 1), ("warn", 2), ("info", 3), ("debug", 4)])
def test_options_read_of_log_gives_the_level(text, level):
    assert read({"GREENBOOST_LOG": text})[0].log == level


@pytest.mark.parametrize("text", ["1", "on", "TRUE", "yes"])
def test_options_read_of_a_switch_turns_it_on(text):
    assert read({"GREENBOOST_DISABLE": text})[0].disable


def test_options_read_of_advertise_takes_a_choice_or_a_size():
    assert read({"GREENBOOST_ADVERTISE": "on"})[0].advertise.choice == lib.GB_ADVERTISE_ON
    options, _ = read({"GREENBOOST_ADVERTISE": "3GiB"})
    assert (options.advertise.choice, options.advertise.size.value) == (-1, 3 << 30)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("GREENBOOST_VRAM_LIMIT", "lots"),
        ("GREENBOOST_VRAM_RESERVE", "-1"),
        ("GREENBOOST_HOST_LIMIT", "101%"),
        ("GREENBOOST_MIN_SPILL", "99999999999999999999"),
        ("GREENBOOST_FALLBACK", "ram"),
        ("GREENBOOST_ADVERTISE", "maybe"),
        ("GREENBOOST_RETRY_FIRST", "2"),
        ("GREENBOOST_LOG", "verbose"),
    ],
)
def test_options_read_of_a_malformed_value_complains_once_and_keeps_the_default(variable, text):
    options, complaints = read({variable: text})
    defaults, _ = read({})
    assert [(said[0], said[1]) for said in complaints] == [(variable, text)]
    assert complaints[0][2]
    assert bytes(ffi.buffer(options)) == bytes(ffi.buffer(defaults))


def test_options_read_of_an_empty_value_is_silence():
    assert read({"GREENBOOST_VRAM_LIMIT": ""})[1] == []
