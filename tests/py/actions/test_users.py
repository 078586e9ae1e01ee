from pathlib import Path

import pytest

from greenboost_py.actions.users import read_users
from greenboost_py.base.sysroot import SysRoot


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("", {}),
        ("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:A,B:/home/alice:/bin/sh\n", {0: "root", 1000: "alice"}),
        ("root:x:0:0:::\ntoor:x:0:0:::\n", {0: "root"}),
        ("alice:x:one:1:::\nbob:x:-1:1:::\n:x:7:7:::\ncarol:x:8:8\ndave:x:٣:1:::\n", {}),
        ("eve:x:" + "9" * 5000 + ":1:::\n", {}),
        ("\n::::::\n+::::::\n", {}),
    ],
)
def test_read_users_takes_what_is_well_formed(tmp_path: Path, text: str, users: dict[int, str]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(text)
    assert read_users(SysRoot(tmp_path)) == users


def test_read_users_without_the_file_knows_nobody(tmp_path: Path) -> None:
    assert read_users(SysRoot(tmp_path)) == {}
