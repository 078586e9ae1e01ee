import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import SensorError
from greenboost_py.sensors.drm_fdinfo import DrmClient, parse_fdinfo

KIB, MIB = 1 << 10, 1 << 20

PATH = "proc/7/fdinfo/3"


def text(*lines: str, client: str = "57", device: str = "0000:c4:00.0") -> bytes:
    head = ["pos:\t0", "flags:\t02100002", "drm-driver:\tamdgpu", f"drm-client-id:\t{client}", f"drm-pdev:\t{device}"]
    return "\n".join([*head, *lines, ""]).encode()


@pytest.mark.parametrize(
    ("lines", "vram_bytes", "gtt_bytes"),
    [
        ((), 0, 0),
        # amdgpu today: both names of the same figure
        (
            (
                "drm-resident-vram:\t12 KiB",
                "drm-memory-vram:\t12 KiB",
                "drm-resident-gtt:\t3 MiB",
                "drm-memory-gtt: \t3072 KiB",
            ),
            12 * KIB,
            3 * MIB,
        ),
        (
            ("drm-memory-vram:\t12 KiB", "drm-memory-gtt: \t5 KiB", "drm-memory-cpu: \t99 KiB"),
            12 * KIB,
            5 * KIB,
        ),  # amdgpu earlier
        (("drm-total-vram:\t64 MiB", "drm-resident-vram:\t0"), 0, 0),  # created, without pages
        (
            ("drm-total-vram0:\t23992 KiB", "drm-resident-vram0:\t23992 KiB", "drm-resident-vram1:\t1 KiB"),
            23993 * KIB,
            0,
        ),  # xe
        (("drm-resident-system:\t8 KiB", "drm-resident-gtt:\t192 KiB", "drm-resident-stolen:\t4 KiB"), 0, 200 * KIB),
        (
            ("drm-resident-system0:\t2 MiB", "drm-resident-local0:\t4 MiB", "drm-resident-stolen-system0:\t1 MiB"),
            4 * MIB,
            2 * MIB,
        ),  # i915
        (("drm-total-memory:\t24 MiB", "drm-shared-memory:\t8 MiB"), 0, 24 * MIB),  # the total is all there is
        (("drm-resident-gtt:\t17", "drm-resident-vram:   1 B  "), 1, 17),
        (("drm-resident-gtt:1GiB",), 0, 1 << 30),
        (("drm-resident-gtt:\t1 KiB", "drm-resident-gtt:\t9 KiB"), 0, KIB),
        (("amd-requested-vram:\tnonsense", "drm-shared-vram:\t-1", "nonsense", ":", "drm-engine-gfx:\tx"), 0, 0),
    ],
)
def test_parse_fdinfo_counts_what_is_resident_by_region(
    lines: tuple[str, ...], vram_bytes: int, gtt_bytes: int
) -> None:
    assert parse_fdinfo(text(*lines), PATH) == DrmClient("0000:c4:00.0", 57, vram_bytes, gtt_bytes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"pos:\t0\nflags:\t02\n",
        b"drm-driver:\tpanfrost\ndrm-client-id:\t3\ndrm-resident-memory:\t1 MiB\n",  # not on PCI
        b"drm-driver:\tamdgpu\ndrm-pdev:\t0000:c4:00.0\ndrm-resident-vram:\t1 MiB\n",
    ],
)
def test_parse_fdinfo_of_a_file_that_names_no_client_is_none(data: bytes) -> None:
    assert parse_fdinfo(data, PATH) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (text(client=""), "drm-client-id"),
        (text(client="-1"), "drm-client-id"),
        (text(client="7 KiB"), "drm-client-id"),
        (text(client="9" * 21), "drm-client-id"),
        (text(device="c4:00.0"), "drm-pdev"),
        (text(device="\x1b[2J"), "drm-pdev"),
        (text("drm-resident-vram:"), "drm-resident-vram"),
        (text("drm-resident-vram:\t-1 KiB"), "drm-resident-vram"),
        (text("drm-resident-vram:\t1.5 MiB"), "drm-resident-vram"),
        (text("drm-resident-vram:\t1 kB"), "drm-resident-vram"),
        (text("drm-resident-vram:\t1 KiB KiB"), "drm-resident-vram"),
        (text("drm-memory-gtt:\t" + "9" * 5000), "drm-memory-gtt"),
        (text("drm-memory-gtt:\t99999999999999 GiB"), "drm-memory-gtt"),
        (text("drm-total-memory:\t٣"), "drm-total-memory"),
    ],
)
def test_parse_fdinfo_of_what_is_malformed_is_an_error_that_says_what(data: bytes, what: str) -> None:
    with pytest.raises(SensorError, match=f"^/{PATH}: {what} is malformed: "):
        parse_fdinfo(data, PATH)


LINE = st.one_of(
    st.binary(max_size=32),
    st.builds(
        lambda statistic, region, value: b"drm-%s-%s:%s" % (statistic, region, value),
        st.sampled_from([b"resident", b"memory", b"total", b"client", b"shared"]),
        st.sampled_from([b"vram", b"gtt", b"memory", b"id", b"local0", b"cpu"]),
        st.one_of(st.binary(max_size=24), st.integers(-1, 2**70).map(lambda number: b"\t%d KiB" % number)),
    ),
    st.sampled_from([b"drm-pdev:\t0000:c4:00.0", b"drm-client-id:\t5"]),
)


@given(st.lists(LINE, max_size=12).map(b"\n".join))
def test_parse_fdinfo_of_arbitrary_lines_is_a_client_none_or_an_error(data: bytes) -> None:
    try:
        client = parse_fdinfo(data, PATH)
    except SensorError as error:
        assert error.path == f"/{PATH}"
        assert str(error).isprintable()
    else:
        assert client is None or (client.vram_bytes >= 0 and client.gtt_bytes >= 0)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.sampled_from(["", " KiB", " MiB"]))
def test_parse_fdinfo_reads_back_what_the_kernel_prints(vram: int, gtt: int, unit: str) -> None:
    client = parse_fdinfo(text(f"drm-resident-vram:\t{vram}{unit}", f"drm-resident-gtt:\t{gtt}{unit}"), PATH)
    factor = {"": 1, " KiB": KIB, " MiB": MIB}[unit]
    assert client == DrmClient("0000:c4:00.0", 57, vram * factor, gtt * factor)
