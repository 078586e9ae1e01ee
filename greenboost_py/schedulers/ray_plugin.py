"""The plugin that a Ray node's agent loads, named in $RAY_RUNTIME_ENV_PLUGINS (docs/fleet.md, "Ray").

The agent asks it once for each runtime_env on its node, before it starts a worker there. The base class lies in a
private module, marked as an API for developers: Ray loads plugins of no other class. Written to Ray 2.60.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from ray._private.runtime_env.plugin import RuntimeEnvPlugin  # type: ignore[import-not-found]

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.schedulers.ray_field import FIELD, read_field, worker_variables


class GreenboostPlugin(RuntimeEnvPlugin):  # type: ignore[misc]
    """Puts the library, its options and a profile's into the environment of a worker."""

    name = FIELD
    priority = 100  # the last: what other plugins have in LD_PRELOAD is kept

    @staticmethod
    def validate(runtime_env_dict: Mapping[str, Any]) -> None:
        """Refuses a field that cannot be understood; Ray makes it a RuntimeEnvSetupError.

        Raises:
            ValueError: with a line that says what is wrong.
        """
        read_field(runtime_env_dict[FIELD])

    def modify_context(
        self, uris: list[str], runtime_env: Mapping[str, Any], context: Any, logger: logging.Logger
    ) -> None:
        """Sets the worker's variables.

        Args:
            uris: of files to be had; none.
            runtime_env: as the program wrote it.
            context: what Ray will start the worker with.
            logger: of this runtime_env's own log file, in the session's folder.

        Raises:
            GreenboostError: there is no such profile here, or no library.
        """
        asked = read_field(runtime_env[FIELD])
        if asked is not None:
            made = worker_variables(asked, SysRoot(), os.environ, context.env_vars)
            logger.info("greenboost: %s", made)
            context.env_vars = {**context.env_vars, **made}
