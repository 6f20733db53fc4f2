"""Run as a script, in a process of its own: pictures of figures, and Vega's script for a page.

V8, which draws them, ends its process where memory or threads run out: no exception comes of it.
Nothing of purescope is imported here, so that it starts at once.
"""

import json
import re
import sys
from typing import Any

import vl_convert

_VEGA = "window.vegaEmbed = vegaEmbed;"


def pictures(order: dict[str, Any]) -> dict[str, str]:
    """Draw each figure, as SVG whose ids no other picture has.

    Figures that differ in their rows alone are compiled from Vega-Lite to Vega once.

    Args:
        order: the version of Vega-Lite, and the specifications by the figures' names.

    Returns:
        SVG by the figures' names.
    """
    compiled: dict[str, Any] = {}
    drawn = {}
    for name, spec in order["specs"].items():
        rows = spec["datasets"]
        same = json.dumps({**spec, "datasets": list(rows)})
        if same not in compiled:
            compiled[same] = vl_convert.vegalite_to_vega(spec, vl_version=order["version"])
        vega = compiled[same]
        data = [
            {**one, "values": rows[one["name"]]} if one["name"] in rows else one
            for one in vega["data"]
        ]
        svg = vl_convert.vega_to_svg({**vega, "data": data})
        svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
        drawn[name] = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return drawn


def main() -> None:
    """Bundle Vega's script if asked to, while the figures are still being made; then draw those,
    and write both.
    """
    library = vl_convert.javascript_bundle(_VEGA) if "library" in sys.argv[1:] else ""
    order = json.load(sys.stdin.buffer)
    sys.stdout.write(json.dumps({"pictures": pictures(order), "library": library}))


if __name__ == "__main__":
    main()
