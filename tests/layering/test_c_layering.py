"""Includes in shim/ point one way: docs/architecture.md."""

import re
from pathlib import Path

import pytest

ABOVE = {
    "abi": set(),
    "base": {"abi"},
    "driver": {"base", "abi"},
    "policy": {"base", "abi"},
    "ledger": {"policy", "base", "abi"},
    "lease": {"policy", "base", "abi"},
    "tier": {"policy", "driver", "base", "abi"},
    "alloc": {"tier", "ledger", "lease", "policy", "driver", "base", "abi"},
    "entry": {"alloc", "tier", "ledger", "lease", "policy", "driver", "base", "abi"},
}
"""What each part may include, beside itself. Only entry, alloc and tier call the driver."""

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def violations(shim: Path) -> list[str]:
    """Every include that points the wrong way, as `file includes what`."""
    found = []
    for file in sorted(path for ending in ("c", "h", "S") for path in shim.glob(f"*/**/*.{ending}")):
        part = file.relative_to(shim).parts[0]
        for target in INCLUDE.findall(file.read_text()):
            folder, _, name = target.rpartition("/")
            if not folder and name.endswith(".def"):
                continue  # a list stands beside the parts: who may use what it names is who may use the part that it makes
            if folder.split("/")[0] != part and folder.split("/")[0] not in ABOVE.get(part, set()):
                found.append(f"{file.relative_to(shim)} includes {target}")
    return found


def test_every_include_of_the_shim_points_one_way(repository: Path) -> None:
    assert violations(repository / "shim") == []


def test_every_folder_of_the_shim_has_its_place(repository: Path) -> None:
    assert {path.name for path in (repository / "shim").iterdir() if path.is_dir()} <= set(ABOVE)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("base/log.c", '#include "driver/driver.h"'),
        ("policy/report.h", '  #  include "driver/driver.h"'),
        ("ledger/table.c", '#include "tier/tier.h"'),
        ("ledger/table.c", '#include "lease/local.h"'),
        ("tier/split.c", '#include "ledger/ledger.h"'),
        ("driver/caps/caps.h", 'int a;\n#include "entry/hooks.h"'),
        ("abi/a.h", '#include "base/size.h"'),
        ("base/log.c", '#include "log.h"'),
        ("base/log.c", '#include "../entry/hooks.h"'),
        ("other/new.c", '#include "base/log.h"'),
    ],
)
def test_an_include_that_points_back_is_found(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert len(violations(tmp_path)) == 1
