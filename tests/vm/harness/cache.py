"""What takes long to make is made once, in a folder of its own under build/vm; its name says what it was made from."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of things made.

    Attributes:
        folder: where they lie; made when something is.
    """

    folder: Path

    def made(self, name: str, ingredients: Sequence[str], make: Callable[[Path], None]) -> Path:
        """A thing made from these ingredients, from the cache or made now, in place of an older one of that name.

        Two that ask at once: one makes it, the other waits. One that is killed leaves nothing that looks finished.

        Args:
            name: what it is called, as kernel.
            ingredients: all that it is made from, as a package with its version, or a text.
            make: makes it, in an empty folder.
        """
        digest = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:16]
        place = self.folder / f"{name}-{digest}"
        with self._locked(name):
            if not place.is_dir():
                unfinished = self.folder / f"unfinished-{name}"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                for old in self.all(name):
                    shutil.rmtree(old)
                unfinished.rename(place)
        return place

    def all(self, name: str) -> tuple[Path, ...]:
        """What there is of that name, whatever it was made from."""
        return tuple(sorted(self.folder.glob(f"{name}-????????????????")))

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
