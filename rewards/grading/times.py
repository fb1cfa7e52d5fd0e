"""Times of day and dates."""

from __future__ import annotations

import re

from rewards.grading.forms import Clock, Day, Reading

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS) + "|sept"
_DATES = [
    re.compile(rf"(?:\w+day,? )?(?P<month>{_MONTH})\.? (?P<day>\d{{1,2}})(?:,? (?P<year>\d{{4}}))?", re.IGNORECASE),
    re.compile(
        rf"(?:\w+day,? )?(?:the )?(?P<day>\d{{1,2}})(?: of)? (?P<month>{_MONTH})\.?(?:,? (?P<year>\d{{4}}))?",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"),
]
_CLOCK = re.compile(
    r"(?:at )?(\d{1,2})(?:\s?:\s?(\d{2}))?(?:\s?:\s?00)?\s*(am|pm|o'clock|hours|h)?(?:\s+sharp)?", re.IGNORECASE
)


def read_date(text: str) -> Reading | None:
    for pattern in _DATES:
        found = pattern.fullmatch(text)
        if found:
            month = found["month"]
            number = (
                int(month)
                if month.isdigit()
                else next(n for n, m in enumerate(_MONTHS, 1) if m[:3] == month.casefold()[:3])
            )
            return Day(number, int(found["day"]), int(found["year"]) if found["year"] else None)
    return None


def read_clock(text: str) -> Reading | None:
    if text.casefold() in ("noon", "midnight", "12 noon", "12 midnight"):
        return Clock(720 if "noon" in text.casefold() else 0, "pm" if "noon" in text.casefold() else "am")
    found = _CLOCK.fullmatch(text)
    if not found or not (found[2] or (found[3] or "").casefold() in ("am", "pm", "o'clock")):
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").casefold()
    if hour > 24 or minute > 59 or (half in ("hours", "h") and not found[2]):
        return None
    if half in ("am", "pm") and 1 <= hour <= 12:
        return Clock((hour % 12 + 12 * (half == "pm")) * 60 + minute, "am" if half == "am" else "pm")
    if hour == 0 or hour > 12:
        return Clock(hour % 24 * 60 + minute, "pm" if hour > 12 and hour < 24 else "am")
    return Clock(hour * 60 + minute, None)
