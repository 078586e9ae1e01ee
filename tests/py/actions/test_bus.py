import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenboost_py.actions import bus as bus_module
from greenboost_py.actions.bus import Address, Bus, BusError, session_address, system_address

MakeBus = Callable[..., Any]

SOURCE = Address("/org/example/Thing", "org.example.Thing")
MATCH = "type='signal',interface='org.example.Thing'"


@pytest.mark.parametrize(
    ("environment", "system", "session"),
    [
        ({}, "unix:path=/run/dbus/system_bus_socket", None),
        ({"DBUS_SYSTEM_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": ""}, "unix:path=/run/dbus/system_bus_socket", None),
        ({"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/a"}, "unix:path=/a", None),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "unix:path=/run/dbus/system_bus_socket", "unix:path=/run/user/7/bus"),
        (
            {"XDG_RUNTIME_DIR": "/run/user/7", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/b"},
            "unix:path=/run/dbus/system_bus_socket",
            "unix:path=/b",
        ),
    ],
)
def test_addresses_are_the_environments_or_the_usual(
    environment: dict[str, str], system: str, session: str | None
) -> None:
    assert (system_address(environment), session_address(environment)) == (system, session)


def test_emit_reaches_who_asked_for_it(make_bus: MakeBus) -> None:
    address = make_bus("system").address

    async def run() -> tuple[Any, ...]:
        listener, emitter = await Bus.connect(address), await Bus.connect(address)
        await listener.call_bus("AddMatch", "s", (MATCH,))
        await emitter.emit(SOURCE, "Moved", "sta(uu)", ("here", 2**64 - 1, [(1, 2)]))
        assert (await listener.receive()).member == "NameAcquired", "of the hello"
        signal = await listener.receive()
        listener.close()
        emitter.close()
        return signal.path, signal.interface, signal.member, signal.signature, signal.body, signal.is_broadcast

    expected = ("/org/example/Thing", "org.example.Thing", "Moved", "sta(uu)", ("here", 2**64 - 1, [(1, 2)]), True)
    assert asyncio.run(run()) == expected


def test_call_that_the_bus_refuses_is_an_error_with_its_text(make_bus: MakeBus) -> None:
    address = make_bus("system").address

    async def run() -> None:
        bus = await Bus.connect(address)
        try:
            with pytest.raises(
                BusError, match=r"org\.freedesktop\.DBus\.Error\.ServiceUnknown: .*org\.example\.Absent"
            ):
                await bus.call(Address("/x", "org.example.X", "org.example.Absent"), "Do")
            assert await bus.call_bus("NameHasOwner", "s", ("org.freedesktop.DBus",)) == (True,), "it goes on"
        finally:
            bus.close()

    asyncio.run(run())


def test_receive_from_a_bus_that_ends_is_an_error(make_bus: MakeBus) -> None:
    server = make_bus("system")

    async def run() -> None:
        bus = await Bus.connect(server.address)
        assert (await bus.receive()).member == "NameAcquired", "of the hello"
        waiting = asyncio.create_task(bus.receive())
        await asyncio.to_thread(server.end)
        with pytest.raises(BusError, match=r"^the bus: "):
            await waiting
        with pytest.raises(BusError):
            await bus.call_bus("GetId")
        bus.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        "unix:path={0}/absent",
        "unix:path={0}/file",
        "",
        "tcp:host=localhost,port=1",
        "nonsense",
        "unix:path={0}/" + "x" * 200,
    ],
)
def test_connect_to_no_bus_is_an_error_that_names_it(tmp_path: Path, address: str) -> None:
    (tmp_path / "file").touch()
    address = address.format(tmp_path)
    with pytest.raises(BusError, match=r"^no bus at "):
        asyncio.run(Bus.connect(address))


ANSWERS = {
    "silent": [b""],
    "rejects": [b"REJECTED EXTERNAL\r\n"],
    "no such protocol": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "endless": [b"x" * 10000],
    "silent after the welcome": [b"OK 1234\r\n"],
    "no message": [b"OK 1234\r\n", b"\xff" * 64],
    "unknown header": [b"OK 1234\r\n", b"l\4\0\1\0\0\0\0\1\0\0\0\x08\0\0\0\xc8\1s\0\1\0\0\0x\0\0\0\0\0\0\0"],
}


@pytest.mark.parametrize("behaviour", ANSWERS)
def test_connect_to_what_does_not_behave_is_an_error_within_the_deadline(
    tmp_path: Path, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "DEADLINE_S", 0.2)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "bus"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in ANSWERS[behaviour]:
                if connection.recv(4096):
                    connection.sendall(answer)
            while connection.recv(4096):
                pass

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        with pytest.raises(BusError):
            asyncio.run(Bus.connect(f"unix:path={tmp_path}/bus"))
    finally:
        server.join(timeout=30)
        assert not server.is_alive(), "the connection must be closed"
        listener.close()


def test_connect_to_a_bus_that_accepts_nobody_is_an_error_within_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "DEADLINE_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(tmp_path / "bus"))
            with pytest.raises(BusError):
                asyncio.run(Bus.connect(f"unix:path={tmp_path}/bus"))
