"""A connection to a D-Bus message bus, for an event loop: a few messages, each with a deadline.

jeepney makes and reads the messages (400 KiB, 6 ms; dbus-fast takes 23 MiB, dbus-python and GLib's need a compiler). It
ships no types, so nothing else imports it. Its own connections are not used: they wait for the first reply for ever.

Source: dbus.freedesktop.org/doc/dbus-specification.html.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import jeepney  # type: ignore[import-untyped]
from jeepney.auth import BEGIN, AuthenticationError, Authenticator  # type: ignore[import-untyped]
from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]

from greenboost_py.base.errors import GreenboostError

DEADLINE_S = 2.0
"""For connecting, and for each call. A bus that works answers within a millisecond or two."""

SYSTEM_SOCKET = "unix:path=/run/dbus/system_bus_socket"

_SIGNALS_MAX = 64
_BUS = jeepney.DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")


class BusError(GreenboostError):
    """The bus is not there, does not answer, or says no."""


@dataclass(frozen=True, slots=True)
class Address:
    """An object's interface, and who has it.

    Attributes:
        path: the object.
        interface: its interface.
        name: the bus name of who has it; empty: for a signal of our own.
    """

    path: str
    interface: str
    name: str = ""

    @property
    def jeepney(self) -> Any:
        """The same, as the library takes it."""
        return jeepney.DBusAddress(self.path, self.name or None, self.interface)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that came.

    Attributes:
        path: the object.
        interface: its interface.
        member: the signal's name.
        signature: the types of `body`.
        body: its values.
        is_broadcast: it came because of a match; False: somebody sent it to this connection alone.
    """

    path: str
    interface: str
    member: str
    signature: str
    body: tuple[Any, ...]
    is_broadcast: bool


def system_address(environment: Mapping[str, str]) -> str:
    """Where the system's bus is."""
    return environment.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_SOCKET


def session_address(environment: Mapping[str, str]) -> str | None:
    """Where the bus of a user's session is; None: there is no session."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return environment.get("DBUS_SESSION_BUS_ADDRESS") or (f"unix:path={runtime}/bus" if runtime else None)


class Bus:
    """One connection; made by `connect`, ended by `close`. One call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = jeepney.low_level.Parser()
        self._serials = count(1)
        self._signals: deque[Signal] = deque(maxlen=_SIGNALS_MAX)

    @classmethod
    async def connect(cls, address: str) -> "Bus":
        """Connects, and says hello.

        Args:
            address: for example `unix:path=/run/dbus/system_bus_socket`.

        Raises:
            BusError: that did not succeed within `DEADLINE_S`.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await cls._open(_socket_path(address))
        except TimeoutError as error:
            raise BusError(f"the bus at {address} does not answer") from error
        except (OSError, AuthenticationError, ValueError) as error:
            raise BusError(f"no bus at {address}: {getattr(error, 'strerror', None) or error}") from error

    @classmethod
    async def _open(cls, path: str) -> "Bus":
        bus = cls(*await asyncio.open_unix_connection(path))
        is_open = False
        try:
            await bus._authenticate()
            await bus._request(jeepney.new_method_call(_BUS, "Hello"))
            is_open = True
        finally:
            if not is_open:
                bus.close()
        return bus

    def close(self) -> None:
        """Ends the connection at once; what is not sent yet is dropped."""
        self._writer.transport.abort()

    async def call(self, to: Address, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """Calls a method.

        Raises:
            BusError: no answer within `DEADLINE_S`, or an error.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._request(jeepney.new_method_call(to.jeepney, method, signature or None, body))
        except TimeoutError as error:
            raise BusError(f"{to.name or to.path}: {method}: no answer") from error
        except OSError as error:
            raise BusError(f"{to.name or to.path}: {method}: {error.strerror or error}") from error

    async def call_bus(self, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """Calls a method of the bus itself.

        Raises:
            BusError: as `call`.
        """
        return await self.call(Address(_BUS.object_path, _BUS.interface, _BUS.bus_name), method, signature, body)

    async def emit(self, source: Address, member: str, signature: str, body: tuple[Any, ...]) -> None:
        """Broadcasts a signal; when this returns, the bus has it.

        Raises:
            BusError: it did not get there within `DEADLINE_S`.
        """
        self._write(jeepney.new_signal(source.jeepney, member, signature, body))
        await self.call_bus("GetId")  # messages are taken in order: an answer means that the signal was taken too

    async def receive(self) -> Signal:
        """The next signal; waits for one.

        Raises:
            BusError: the connection has ended.
        """
        try:
            while not self._signals:
                self._keep(await self._message())
        except OSError as error:
            raise BusError(f"the bus: {error.strerror or error}") from error
        return self._signals.popleft()

    async def _authenticate(self) -> None:
        authenticator = Authenticator()
        for data in authenticator:
            self._writer.write(data)
            authenticator.feed(await self._read())
        self._writer.write(BEGIN)

    async def _request(self, message: Any) -> tuple[Any, ...]:
        serial = self._write(message)
        while True:
            answer = await self._message()
            if answer.header.fields.get(jeepney.HeaderFields.reply_serial) != serial:
                self._keep(answer)
            elif answer.header.message_type is jeepney.MessageType.error:
                name = answer.header.fields.get(jeepney.HeaderFields.error_name, "")
                raise BusError(f"{name}: {answer.body[0] if answer.body else ''}")
            else:
                return tuple(answer.body)

    def _write(self, message: Any) -> int:
        serial = next(self._serials)
        self._writer.write(message.serialise(serial=serial))
        return serial

    async def _message(self) -> Any:
        try:
            while (message := self._parser.get_next_message()) is None:
                self._parser.add_data(await self._read())
        except (ValueError, LookupError, TypeError, AssertionError, struct.error) as error:
            # Anybody may send us anything that the bus lets through, such as a header that the library does not know.
            raise BusError("the bus: a message came that cannot be read") from error
        return message

    async def _read(self) -> bytes:
        data = await self._reader.read(4096)
        if not data:
            raise ConnectionResetError("the connection was closed")
        return data

    def _keep(self, message: Any) -> None:
        """Puts a signal by for `receive`; calls from others are not answered: there is nothing here to be called."""
        if message.header.message_type is not jeepney.MessageType.signal:
            return
        fields, names = message.header.fields, jeepney.HeaderFields
        self._signals.append(
            Signal(
                path=fields.get(names.path, ""),
                interface=fields.get(names.interface, ""),
                member=fields.get(names.member, ""),
                signature=fields.get(names.signature, ""),
                body=tuple(message.body),
                is_broadcast=names.destination not in fields,
            )
        )


def _socket_path(address: str) -> str:
    try:
        path: str = next(get_connectable_addresses(address))
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return path
