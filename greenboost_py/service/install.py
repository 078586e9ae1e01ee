"""Installs the daemon as a service, and removes it again: a plan, then one file at a time.

The record of what goes where (install_record) is on the disk before the first file is touched, and says that it is not
complete until the last step is done. Each file is whole at any time. So after a kill or a power cut at any point,
running the same command again finishes it, and uninstalling removes it.
"""

import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from greenboost_py import __version__
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.layout import Layout, ServiceFile
from greenboost_py.service.record import Record, digest, read_record, survey


class Action(enum.Enum):
    """What happens to a file."""

    CREATE = "create"
    SAME = "unchanged"
    UPDATE = "update"
    KEEP = "keep"
    OVERWRITE = "overwrite"
    REMOVE = "remove"
    GONE = "gone"


_WRITES = frozenset({Action.CREATE, Action.UPDATE, Action.OVERWRITE})


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one file.

    Attributes:
        path: the file, without its leading slash.
        action: what happens to it.
        text: what is written; empty if nothing is.
    """

    path: str
    action: Action
    text: str = ""

    @property
    def is_change(self) -> bool:
        """Whether anything on the disk becomes different."""
        return self.action in _WRITES or self.action is Action.REMOVE


def plan_install(
    files: Sequence[ServiceFile], record: Record | None, found: Mapping[str, str | None], force: bool
) -> tuple[Change, ...]:
    """What installing does to each file.

    A file that is not as it was written before is somebody's work: it is kept, or with `force` overwritten. The
    configuration is never overwritten. A file that the service has no more is removed.

    Args:
        files: what should be there.
        record: of the present installation.
        found: what is there (`install_record.survey`), for every path of both.
        force: overwrite what was changed; what was there keeps a second name.
    """
    written = record.files if record is not None else {}
    changes = []
    for file in files:
        there = found[file.path]
        if there is None:
            action = Action.CREATE
        elif there == digest(file.text.encode()):
            action = Action.SAME
        elif there in written.get(file.path, ()):
            action = Action.UPDATE
        else:
            action = Action.OVERWRITE if force and not file.is_configuration else Action.KEEP
        changes.append(Change(file.path, action, file.text))
    wanted = {file.path for file in files}
    for path in sorted(written.keys() - wanted):
        is_ours = found[path] in written[path]
        changes.append(Change(path, Action.GONE if found[path] is None else Action.REMOVE if is_ours else Action.KEEP))
    return tuple(changes)


def plan_uninstall(
    layout: Layout, record: Record | None, found: Mapping[str, str | None], purge: bool
) -> tuple[Change, ...]:
    """What uninstalling does to each file: what was installed goes, but for configuration that was changed.

    Args:
        layout: where the configuration is.
        record: of the present installation.
        found: what is there, for every path of the record and the configuration.
        purge: remove the configuration in any case.
    """
    written = record.files if record is not None else {}
    changes = []
    configuration = () if layout.is_packaged else (layout.configuration,)
    for path in dict.fromkeys((*reversed(list(written)), *configuration)):
        there = found[path]
        if there is None:
            action = Action.GONE
        elif path != layout.configuration or purge or there in written.get(path, ()):
            action = Action.REMOVE
        else:
            action = Action.KEEP
        changes.append(Change(path, action))
    return tuple(changes)


def record_of(changes: Sequence[Change], before: Record | None, missing: Sequence[str], made_user: bool) -> Record:
    """The record of an installation that has come to its end.

    Args:
        changes: its plan.
        before: the record until then.
        missing: folders that it makes.
        made_user: whether it makes the daemon's user.
    """
    written = before.files if before is not None else {}
    files = {
        change.path: written[change.path] if change.action is Action.KEEP else (digest(change.text.encode()),)
        for change in changes
        if change.action in _WRITES
        or change.action is Action.SAME
        or (change.action is Action.KEEP and change.path in written)
    }
    folders = dict.fromkeys((*(before.folders if before is not None else ()), *missing))
    outermost_first = tuple(sorted(folders, key=lambda path: path.count("/")))
    return Record(__version__, True, files, outermost_first, made_user or (before is not None and before.made_user))


def under_way(after: Record, before: Record | None) -> Record:
    """The record while files are being replaced: of each, what was written and what will be."""
    files = {path: list(digests) for path, digests in after.files.items()}
    for path, digests in (before.files if before is not None else {}).items():
        mine = files.setdefault(path, [])
        mine += [one for one in digests if one not in mine]
    return replace(after, is_complete=False, files={path: tuple(digests) for path, digests in files.items()})


@dataclass(frozen=True, slots=True)
class Installation:
    """A service on one file system.

    Attributes:
        root: reads it.
        tree: writes it; of the same directory.
        layout: where the service's files go.
    """

    root: SysRoot
    tree: Tree
    layout: Layout

    def record(self) -> Record | None:
        """What was installed; None: nothing.

        Raises:
            InstallError: the record cannot be read.
        """
        return read_record(self.root, self.layout.record)

    def plan_install(self, files: Sequence[ServiceFile], force: bool) -> tuple[Change, ...]:
        """As `plan_install`, of what is there now."""
        record = self._ours()
        paths = {file.path for file in files} | set(record.files if record is not None else ())
        return plan_install(files, record, survey(self.root, paths), force)

    def install(
        self,
        changes: Sequence[Change],
        makes_user: bool,
        then: Callable[[bool], None] = lambda changed: None,
        make_user: Callable[[], None] = lambda: None,
    ) -> bool:
        """Carries out a plan.

        Args:
            changes: from `plan_install`.
            makes_user: whether `make_user` makes the daemon's user.
            then: what is to be done when the files are there, before the installation counts as complete; it is told
                whether they replace others, so that a daemon that runs has to be started anew.
            make_user: called when the file is there that describes the user, and before there is another that names it:
                a bus reads a policy as soon as it appears, and complains of a user whom it does not know.

        Returns:
            Whether anything was changed, or an earlier attempt was finished.

        Raises:
            FileError: the file system refuses; what was done so far is in the record.
        """
        before = self.record()
        written = [change.path for change in changes if change.action in _WRITES]
        if self.layout.is_packaged and not written and before is None:
            then(False)
            return False
        missing = self._missing([*written, self.layout.record, *self._own_folder])
        made = [*missing, *self._missing(self.layout.links)]
        # Ours by their names, recorded or not: one of them holds the record, and is made before it.
        others = [folder for folder in made if folder not in self.layout.folders]
        after = record_of(changes, before, others, makes_user)
        if self.layout.is_packaged:
            after = replace(after, made_user=False)
        if before == after and not missing and not any(change.is_change for change in changes):
            make_user()
            then(False)
            return False
        self.tree.make_folders(self.layout.record)
        self._write_record(under_way(after, before))
        for change in changes:
            self._carry_out(change)
            if change.path == self.layout.accounts and change.action is not Action.REMOVE:
                make_user()
        self._remove_folder(f"{self.layout.unit}.d")
        for folder in self._own_folder:
            self.tree.make_folders(folder)
        then(before is not None or self.layout.is_packaged)
        if self.layout.is_packaged and not after.files:
            self._forget(after.folders)
        else:
            self._write_record(after)
        return True

    def _carry_out(self, change: Change) -> None:
        if change.action in _WRITES:
            self.tree.make_folders(change.path)
            if change.action is Action.OVERWRITE:
                self.tree.keep_aside(change.path)
            self.tree.write(change.path, change.text.encode())
        elif change.action is Action.REMOVE:
            # A unit of that name may be a package's from now on, and its link leads elsewhere.
            for link in self.layout.links:
                if self._target(link) == change.path:
                    self.tree.remove(link)
            self.tree.remove(change.path)

    def _target(self, link: str) -> str | None:
        """The path that a link names, without its leading slash; None: it is no link."""
        text = self.root.link_text(link)
        return None if text is None else os.path.normpath(f"/{PurePosixPath(link).parent / text}").lstrip("/")

    def plan_uninstall(self, purge: bool) -> tuple[Change, ...]:
        """As `plan_uninstall`, of what is there now."""
        record = self._ours()
        paths = {self.layout.configuration, *(record.files if record is not None else ())}
        return plan_uninstall(self.layout, record, survey(self.root, paths), purge)

    def uninstall(self, changes: Sequence[Change], then: Callable[[], None] = lambda: None) -> None:
        """Carries out a plan, and removes what is left of an attempt that was cut short.

        Args:
            changes: from `plan_uninstall`.
            then: what is to be done when the files are gone, before the record is.

        Raises:
            FileError: the file system refuses; what is left to do is in the record.
        """
        record = self._ours()
        for change in changes:
            if change.action in (Action.REMOVE, Action.GONE):
                self.tree.remove(change.path)  # of what is gone, a part may be left that was being written
        for link in () if self.layout.is_packaged else self.layout.links:
            if self.root.link_text(link) is not None:
                self.tree.remove(link)
        then()
        self._forget(record.folders if record is not None else ())

    def _forget(self, made: Sequence[str]) -> None:
        """Removes the record, and every folder of the service that is empty then."""
        record_folder = self.layout.folders[-1]
        for folder in dict.fromkeys((*self.layout.folders[:-1], *reversed(made))):
            if folder != record_folder and not record_folder.startswith(f"{folder}/"):
                self._remove_folder(folder)
        self.tree.remove(self.layout.record)
        for folder in (record_folder, *(folder for folder in reversed(made) if record_folder.startswith(f"{folder}/"))):
            self._remove_folder(folder)

    def _ours(self) -> Record | None:
        """The record, but for what is a package's now: its configuration, which is there whoever wrote it first."""
        record = self.record()
        if record is None or not self.layout.is_packaged:
            return record
        files = {path: digests for path, digests in record.files.items() if path != self.layout.configuration}
        return replace(record, files=files)

    @property
    def _own_folder(self) -> tuple[str, ...]:
        """A path in the folder for the administrator's own files beside the configuration, where that is ours."""
        folder = self.layout.configuration.rpartition("/")[0]
        return () if self.layout.is_packaged else (f"{folder}/config.d/x",)

    def _missing(self, paths: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(folder for path in paths for folder in self.tree.missing_folders(path)))

    def _remove_folder(self, folder: str) -> None:
        if not self.tree.missing_folders(f"{folder}/file"):
            self.tree.remove_folder(folder)

    def _write_record(self, record: Record) -> None:
        self.tree.write(self.layout.record, record.to_bytes())
