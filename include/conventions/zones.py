"""Time zones by their names in the IANA database."""

from __future__ import annotations

from zoneinfo import ZoneInfo


def find(name: object) -> ZoneInfo | None:
    """Return the zone of this name, or None for whatever names none."""
    try:
        return ZoneInfo(name)  # type: ignore[arg-type]
    # KeyError for a name that is none, OSError for that of a folder, such as America, and the others for what is no name.
    except (KeyError, ValueError, OSError, TypeError):
        return None
