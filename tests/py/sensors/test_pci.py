import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.sensors.pci import normalise_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:c4:00.0", "0000:c4:00.0"),
        ("00000000:C4:00.0", "0000:c4:00.0"),  # NVML's
        ("0001:0B:1f.7", "0001:0b:1f.7"),
        ("10000:e1:00.0", "10000:e1:00.0"),  # a domain of Intel's VMD
        ("0:01:00.0", "0000:01:00.0"),
    ],
)
def test_normalise_address_of_an_address_is_lower_case_with_a_domain_of_four_digits(text: str, address: str) -> None:
    assert normalise_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c4:00.0",
        "0000:c4:00",
        "0000:c4:00.8",
        "0000:c4:00.0\n",
        " 0000:c4:00.0",
        "000000000:c4:00.0",
        "0000:c4:0g.0",
        "0000:c4:\u0660\u0660.0",
    ],
)
def test_normalise_address_of_anything_else_is_none(text: str) -> None:
    assert normalise_address(text) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7), st.booleans())
def test_normalise_address_tells_different_devices_apart(
    domain: int, bus: int, slot: int, function: int, up: bool
) -> None:
    text = f"{domain:08x}:{bus:02x}:{slot:02x}.{function}"
    address = normalise_address(text.upper() if up else text)
    assert address is not None
    assert [int(part, 16) for part in address.replace(".", ":").split(":")] == [domain, bus, slot, function]
