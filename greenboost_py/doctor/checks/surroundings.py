"""What else is put into programs, and what their environment tells them."""

from collections.abc import Sequence

from greenboost_py.base.ceilings import CEILINGS_PATH
from greenboost_py.base.options import load_options
from greenboost_py.base.shim_files import LIBRARY_NAME
from greenboost_py.doctor.examination import Examination
from greenboost_py.doctor.finding import Outcome, fail, note, ok, unknown, warn
from greenboost_py.sensors.preload import Preload

_RIVALS = {
    "libnvshare.so": "nvshare",
    "libvgpu.so": "HAMi",
    "libcuda-control.so": "vCUDA",
    "libgemhook.so.1": "Gemini",
}
"""Libraries that stand between programs and libcuda as the shim does. Source: the documentation of each project."""

_SYSTEM_FILE = "ld.so.preload"

_SWITCHED_ON = ("1", "on", "true", "yes")

_OF_THE_COMMAND = ("GREENBOOST_LIBRARY", "GREENBOOST_CONFIG")
"""What is no option of the shim's."""


def preload_environment(seen: Examination) -> Outcome:
    """LD_PRELOAD."""
    if seen.preload is None:
        return unknown("It cannot be told.")
    entries = seen.preload.environment
    if problem := _rival(entries):
        return fail(f"LD_PRELOAD has {problem}: two cannot both decide.", "unset LD_PRELOAD")
    if missing := [entry.path for entry in entries if entry.is_missing]:
        return warn(f"LD_PRELOAD names what is not there: {_list(missing)}.", "unset LD_PRELOAD")
    own = [entry.path for entry in entries if entry.name == LIBRARY_NAME]
    others = [entry.path for entry in entries if entry.name != LIBRARY_NAME]
    if own and own != [seen.library]:
        text = f"LD_PRELOAD has {_list(own)}, and greenboost run would add {seen.library}: one too many."
        return fail(text, "unset LD_PRELOAD")
    if own:
        return note("LD_PRELOAD has GreenBoost's library: every program of this shell runs under it.")
    return note(f"LD_PRELOAD has {_list(others)}, after GreenBoost's in what it runs.") if others else ok("Not set.")


def preload_system(seen: Examination) -> Outcome:
    """The system's own list, for every program of everybody's."""
    if seen.preload is None:
        return unknown("It cannot be told.")
    entries, edit = seen.preload.system, f"sudoedit /etc/{_SYSTEM_FILE}"
    if problem := _rival(entries):
        return fail(f"{_SYSTEM_FILE} has {problem}: two cannot both decide.", edit)
    if missing := [entry.path for entry in entries if entry.is_missing]:
        return fail(f"{_SYSTEM_FILE} names what is not there: {_list(missing)}; every program complains.", edit)
    if any(entry.name == LIBRARY_NAME for entry in entries):
        text = f"{_SYSTEM_FILE} has GreenBoost's library: it is in every program, and one that is broken stops all."
        return warn(text, f"{edit}; use greenboost run")
    return note(f"{_SYSTEM_FILE} has {_list([entry.path for entry in entries])}.") if entries else ok("Nothing.")


def unified_memory(seen: Examination) -> Outcome:
    """llama.cpp's switch: set to anything, all that it allocates is managed memory. Source: ggml-cuda.cu."""
    if seen.unified_memory is None:
        return ok("Not set.")
    text = (
        f"GGML_CUDA_ENABLE_UNIFIED_MEMORY={_plain(seen.unified_memory)}: llama.cpp then allocates managed memory,"
        " which the driver moves page by page and GreenBoost leaves alone; 0 is as good as 1."
    )
    return warn(text, "unset GGML_CUDA_ENABLE_UNIFIED_MEMORY")


def settings(seen: Examination) -> Outcome:
    """The shim's own options, as they are set here."""
    mistakes = []
    rows = {option.env_name: option for option in load_options()}
    for name, value in sorted(seen.settings.items()):
        if name in rows and value:
            try:
                rows[name].check(value)
            except ValueError as error:
                mistakes.append(f"{name}: {error}")
    if mistakes:
        return fail(f"{'; '.join(mistakes)}. The shim takes each for unset.", "greenboost run --help")
    if seen.settings.get("GREENBOOST_DISABLE", "").lower() in _SWITCHED_ON:
        return warn("GREENBOOST_DISABLE is on: the shim does nothing at all.", "unset GREENBOOST_DISABLE")
    given = [f"{name}={_plain(value)}" for name, value in sorted(seen.settings.items()) if name in rows and value]
    strange = sorted(seen.settings.keys() - rows.keys() - set(_OF_THE_COMMAND))
    if strange:
        return warn(f"{_list(strange)}: no such option.", "greenboost run --help")
    return note(f"Set here: {', '.join(given)}.") if given else ok("None is set here.")


def ceilings(seen: Examination) -> Outcome:
    """What the administrator allows."""
    if seen.ceilings is None:
        return ok("There are none.")
    if seen.ceilings.mistakes:
        text = f"{_plain('; '.join(seen.ceilings.mistakes))}. The shim takes none of these lines."
        return fail(text, f"sudoedit /{CEILINGS_PATH}")
    said = ", ".join(f"{name}={_plain(value)}" for name, value in seen.ceilings.values)
    return note(f"Whatever is set here: {said}.") if said else ok("There are none.")


def _rival(entries: Sequence[Preload]) -> str | None:
    found = next((entry for entry in entries if entry.name in _RIVALS), None)
    return None if found is None else f"{_plain(found.path)} of {_RIVALS[found.name]}"


def _list(paths: Sequence[str]) -> str:
    return ", ".join(_plain(path) for path in paths)


def _plain(text: str) -> str:
    """What somebody wrote, for one line of a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])
