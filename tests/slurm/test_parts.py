"""The Slurm plugin without Slurm, under AddressSanitizer: what is asked for, what a task gets of it, and what is said of it."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

UNLIMITED = 2**64 - 1
GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture(scope="session")
def parts(repository, tmp_path_factory):
    """A function that runs a part with texts, and gives the lines that it prints."""
    program = tmp_path_factory.mktemp("slurm") / "parts"
    folder = repository / "scripts/slurm"
    sources = [Path(__file__).with_name("parts.c"), *(folder / f"{name}.c" for name in ("asked", "told", "settings"))]
    flags = "-std=gnu11 -g -D_GNU_SOURCE -Wall -Wextra -Wconversion -Werror -fsanitize=address,undefined"
    subprocess.run(
        ["cc", *flags.split(), "-fno-sanitize-recover=all", f"-I{folder}", f"-I{repository / 'shim'}"]
        + ["-o", program, *sources, repository / "shim/base/size.c"],
        check=True,
    )

    def run(*words, texts=()):
        given_in = b"".join((text if isinstance(text, bytes) else text.encode()) + b"\0" for text in texts)
        done = subprocess.run([program, *map(str, words)], input=given_in, capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().splitlines()

    return run


@pytest.mark.parametrize(
    ("text", "vram", "host", "profile"),
    [
        ("on", UNLIMITED, UNLIMITED, ""),
        ("vram=8GiB", 8 * GIB, UNLIMITED, ""),
        ("host=1.5 GiB", UNLIMITED, 3 * GIB // 2, ""),
        ("profile=llama-cpp", UNLIMITED, UNLIMITED, "llama-cpp"),
        ("profile=none,host=0,vram=1500M", 1500 * MIB, 0, "none"),
        ("profile=" + "a" * 64, UNLIMITED, UNLIMITED, "a" * 64),
    ],
)
def test_asked_of_a_good_text_is_what_it_says(parts, text, vram, host, profile):
    assert parts("asked", texts=[text]) == [f"1 {vram} {host} [{profile}]"]


def test_asked_off_is_off(parts):
    assert parts("asked", texts=["off"])[0].startswith("0 ")


NONSENSE = ["", ",", "vram", "vram=", "vram=-1", "vram=+1", "vram=8Gi", "vram=75%", "vram=1e9", "vram=nan", "host=0x10"]
NONSENSE += [
    "vram=16777216TiB",
    "vram=18446744073709551615",
    "vram=1G,",
    ",vram=1G",
    "vram=1G,,host=1G",
    "vram=1G vram=1G",
]
NONSENSE += [
    "vram=1G,vram=1G",
    "profile=a,profile=b",
    "profile=",
    "profile=-x",
    "profile=../x",
    "profile=a b",
    "profile=$(x)",
]
NONSENSE += ["profile=" + "a" * 65, "VRAM=1G", "on,off", "off,vram=1G", "on=1", "true", "socket=/x", "x" * 10240]
NONSENSE += [
    "vram=" + "9" * 10240,
    "profile=" + "a" * 10240,
    "vram=1G,host=" + "1" * 100,
    "a\nb\x1b[31m",
    "\N{SNOWMAN}",
]


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: repr(text[:20]))
def test_asked_of_nonsense_is_refused_in_one_line_and_changes_nothing(parts, text):
    (line,) = parts("asked", texts=[text])
    assert line.startswith("refused 1 '")
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 220


LIKELY = st.sampled_from(["vram=", "host=", "profile=", "1G", "8GiB", "a", ",", "=", "off", "on", "%", " ", "9" * 20])
TEXTS = st.one_of(st.lists(LIKELY, max_size=8).map("".join), st.text(max_size=80))


@given(texts=st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1, max_size=60))
@settings(max_examples=25)
def test_asked_of_any_text_gives_a_line(parts, texts):
    lines = parts("asked", texts=[text.encode("utf-8", "replace") for text in texts])
    assert len(lines) == len(texts)
    assert all(line.startswith(("refused 1 '", "0 ", "1 ")) for line in lines)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("greenboost=/opt/x", f"/opt/x /b 0 {UNLIMITED} {UNLIMITED}"),
        ("reports=/tmp", f"/a /tmp 0 {UNLIMITED} {UNLIMITED}"),
        ("default=on", f"/a /b 1 {UNLIMITED} {UNLIMITED}"),
        ("default=off", f"/a /b 0 {UNLIMITED} {UNLIMITED}"),
        ("max_vram=8GiB", f"/a /b 0 {8 * GIB} {UNLIMITED}"),
        ("max_host=1G", f"/a /b 0 {UNLIMITED} {GIB}"),
    ],
)
def test_site_takes_the_arguments_of_plugstack_conf(parts, argument, line):
    assert parts("site", texts=[argument]) == [line]


@pytest.mark.parametrize(
    "argument",
    ["", "=", "x", "default", "default=yes", "greenboost=greenboost", "max_vram=", "max_host=50%", "max_gtt=1G"],
)
def test_site_refuses_other_arguments(parts, argument):
    (line,) = parts("site", texts=[argument])
    assert line.startswith(f"refused '{argument}': ")


def task(devices="0", vram="-", host="-", memory=0, ram=64 * GIB, tasks=1, whose="asked"):
    return [str(word) for word in (devices, vram, host, memory, ram, tasks, whose)]


@pytest.mark.parametrize(
    ("asked", "task", "vram", "host"),
    [
        ("on", task(), UNLIMITED, UNLIMITED),
        ("vram=8G,host=4G", task(), 8 * GIB, 4 * GIB),
        ("vram=8G,host=4G", task(vram="2G", host="1G"), 2 * GIB, GIB),
        ("vram=8G,host=4G", task(vram="1T", host="1T"), 8 * GIB, 4 * GIB),
        ("on", task(vram="1T", host="1T"), 10 * GIB, 20 * GIB),
        ("on", task(memory=8 * GIB), UNLIMITED, 8 * GIB),
        ("host=5G", task(memory=8 * GIB, tasks=2), UNLIMITED, 4 * GIB),
        ("on", task(memory=8 * GIB, tasks=0), UNLIMITED, 8 * GIB),
        ("on", task(host="25%", memory=32 * GIB), UNLIMITED, 16 * GIB),
        ("vram=8G", task(vram="50%"), 8 * GIB, UNLIMITED),
        ("vram=8G", task(vram="lots", host="-1"), 8 * GIB, UNLIMITED),
    ],
)
def test_given_is_the_smallest_of_what_counts(parts, asked, task, vram, host):
    sites = [(UNLIMITED, UNLIMITED), (10 * GIB, 20 * GIB)]
    for vram_max, host_max in sites[1:] if vram == 10 * GIB else sites:
        loaded, *_ = parts("given", asked, vram_max, host_max, texts=task)
        assert loaded == f"1 {min(vram, vram_max)} {min(host, host_max)}"


@pytest.mark.parametrize(
    ("devices", "whose", "is_loaded"),
    [
        ("0,1", "asked", 1),
        ("-", "asked", 1),  # Slurm manages no GPUs
        ("-", "default", 0),
        ("0", "default", 1),
        ("GPU-5ebe9f43", "default", 1),
        ("NoDevFiles", "asked", 0),
        ("", "asked", 0),
        ("-1", "asked", 0),
    ],
)
def test_given_to_a_task_without_gpus_is_nothing(parts, devices, whose, is_loaded):
    # "-1" and "-" are told apart by the whole text.
    line, _ = parts("given", "on", UNLIMITED, UNLIMITED, texts=task(devices=devices, whose=whose))
    assert line.startswith(f"{is_loaded} ")
    assert parts("given", "off", UNLIMITED, UNLIMITED, texts=task())[0].startswith("0 ")


@pytest.mark.parametrize(("asked", "result"), [("vram=9G", -1), ("host=9G", -1), ("vram=8G,host=8G", 0), ("on", 0)])
def test_site_allows_what_is_within_its_ceilings(parts, asked, result):
    assert parts("given", asked, 8 * GIB, 8 * GIB)[-1] == f"allowed {result}"


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("-", "/l.so"),
        ("", "/l.so"),
        ("/a.so", "/l.so:/a.so"),
        (" /a.so:: b.so ", "/l.so:/a.so:b.so"),
        ("/a.so:/l.so:/l.so.1", "/l.so:/a.so:/l.so.1"),
        ("/l.so", "/l.so"),
    ],
)
def test_preload_has_the_library_first_and_once(parts, existing, expected):
    assert parts("preload", 64, texts=["/l.so", existing]) == [f"0 {expected}"]


def test_preload_that_is_too_long_is_refused_at_each_length(parts):
    for size in range(1, 20):
        (line,) = parts("preload", size, texts=["/l.so", "/abc.so"])
        assert line == ("0 /l.so:/abc.so" if size > len("/l.so:/abc.so") else "-36 ")


def peaks(pid=1, begin=0, end=9, program="x", **tiers):
    names = ("device", "split", "host_mapped", "managed", "pageable", "unified")
    numbers = "".join(f',"{name}":{tiers.get(name, 0)}' for name in names)
    return f'{{"pid":{pid},"begin_ms":{begin},"end_ms":{end}{numbers},"program":"{program}"}}\n'


def test_told_of_a_process_is_its_last_line(parts):
    text = peaks(device=5, split=1) + peaks(device=8, split=3)
    assert parts("told", texts=[text])[0] == "8 3 0 0 0 0"


def test_told_adds_processes_that_lived_at_one_time_and_no_others(parts):
    one_after_the_other = peaks(1, 0, 10, device=5) + peaks(2, 20, 30, device=7)
    at_once = peaks(1, 0, 10, device=5) + peaks(2, 5, 30, device=7)
    assert parts("told", texts=[one_after_the_other, at_once])[:2] == ["7 0 0 0 0 0", "12 0 0 0 0 0"]


HOSTILE = [
    "",
    "\n" * 5000,
    "x" * 70000,
    "{}\n",
    peaks(device=-1),
    peaks(device="9" * 21),
    peaks(pid=""),
    peaks()[:-3] + "\n",
]
HOSTILE += [peaks(device=5).rstrip("\n"), peaks(device=5)[1:], peaks(device="5,5"), peaks(device=5).replace(":", ": ")]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_told_of_something_else_is_nothing(parts, text):
    assert parts("told", texts=[text]) == ["0 0 0 0 0 0", "nothing"]


def test_told_of_too_much_stops_at_the_largest_number_and_after_256_processes(parts):
    most = 2**64 - 1
    assert parts("told", texts=[peaks(1, device=most) + peaks(2, device=most)])[0] == f"{most} 0 0 0 0 0"
    many = "".join(peaks(pid, device=1) for pid in range(2000))
    assert parts("told", texts=[many])[0] == "256 0 0 0 0 0"


def test_told_says_what_each_task_held_in_one_line(parts):
    one = peaks(device=8 * GIB, split=3 * GIB, host_mapped=GIB // 5)
    assert parts("told", texts=[one])[-1] == (
        "greenboost: step 7.0 on node: peak VRAM 8.0 GiB, host split 3.0 GiB, host pinned 204.8 MiB (1 task)"
    )
    assert parts("told", texts=[one, "", peaks(unified=512)])[-1].endswith(
        "(2 tasks; 0: VRAM 8.0 GiB, host split 3.0 GiB, host pinned 204.8 MiB; 2: VRAM 0.0 KiB, the program's own managed 0.5 KiB)"
    )
    line = parts("told", texts=[peaks(**dict.fromkeys(("device", "split", "managed", "unified"), 2**64 - 1))] * 500)[-1]
    assert len(line) < 1024
    assert line.startswith("greenboost: step 7.0 on node: peak VRAM 16.0 EiB")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_settings_are_what_the_command_prints(parts, tmp_path):
    command = script(tmp_path / "greenboost", 'printf "%s\\0" "A=1" "B=$*" "LD=$LD_PRELOAD$PYTHONPATH" "C=$C"')
    given_in = ["PATH=" + os.environ["PATH"], "LD_PRELOAD=/no", "PYTHONPATH=/no", "C=x y"]
    assert parts("settings", command, "mine", texts=given_in) == ["A=1", "B=env --null --profile mine", "LD=", "C=x y"]
    assert parts("settings", command, "", texts=given_in)[1] == "B=env --null"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo wrong >&2; exit 2", "wrong"),
        ("printf A=1", ""),
        ("head -c 20000 /dev/zero", ""),
        ("exit 0", ""),
        ("kill -9 $$", ""),
        ("printf 'a\\033[31m\\n' >&2; exit 1", r"a?[31m"),
    ],
)
def test_settings_of_a_command_that_fails_are_a_line(parts, tmp_path, text, why):
    (line,) = parts("settings", script(tmp_path / "greenboost", text), "")
    assert line.startswith(f"failed -5 {str(tmp_path / 'greenboost')[:80]} env failed: {why}")


def test_settings_without_the_command_are_a_line(parts):
    assert parts("settings", "/no/such", "") == ["failed -5 /no/such env failed: No such file or directory"]


def test_settings_of_a_command_that_hangs_end_with_it_and_its_children(parts, tmp_path):
    pids = tmp_path / "pids"
    command = script(tmp_path / "greenboost", f"echo $$ >{pids}; sleep 1000 & echo $! >>{pids}; wait")
    (line,) = parts("settings", command, "", texts=["PATH=" + os.environ["PATH"]])
    assert line.endswith("did not end within 10 s")
    for pid in pids.read_text().split():
        status = Path(f"/proc/{pid}/stat")
        assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"
