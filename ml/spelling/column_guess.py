"""The spelling of one column, from all of its texts."""

from typing import Any

import pyarrow.compute as pc

from ml.errors import Invalid
from ml.spelling.candidates import (
    CODES,
    HEAD,
    IDENTITIES,
    Candidate,
    candidates,
    is_known,
    matching,
    of_numbers,
)
from ml.spelling.categories import text_of
from ml.spelling.count import Count
from ml.spelling.date_formats import ISO
from ml.spelling.date_guess import DateGuess, DateReading, ambiguity, short_years
from ml.spelling.hints import Finding, FindingKind, Hints
from ml.spelling.numbers import (
    BOUND,
    EXACT,
    PLAIN,
    UNPADDED,
    Notation,
    number_in,
)
from ml.spelling.spelling import Spelling

MOSTLY = 0.9
"""Share of numbers from which the other values of a column are errors, not categories."""
FEW_ROWS = 20
"""Number of known values below which `MOSTLY` is not applied."""
PARTLY = 0.5
"""Share of numbers from which a column of categories gets a warning."""
SAMPLE = 200
TRIES = 5
"""Batches with odd texts in which candidates are looked for."""
MAX_SHOWN = 40
LARGEST_EXACT = str(EXACT)
POINTS = Notation(decimal=",", thousands=".")
ANY_SPELLING = Spelling(kind="text")
PARENTHESES, BOUNDS, MARKS_SEEN = "parentheses", "bounds", "marks"
TRAITS = {
    PARENTHESES: Candidate(ANY_SPELLING, matching(r"\(")),
    BOUNDS: Candidate(ANY_SPELLING, matching(f"^{BOUND}")),
    MARKS_SEEN: Candidate(ANY_SPELLING, matching("[.,]")),
}
"""Traits of texts that matter for a column of numbers."""


class ColumnGuess:
    """The spelling of one column, as far as its texts were seen."""

    def __init__(self, name: str, hints: Hints) -> None:
        self.name = name
        self._declared = hints.types.get(name)
        self.dates = DateGuess(hints.dates.get(name), self._declared == "date")
        self._is_quoted = name in hints.quoted
        self._marks = hints.marks()
        self._has_marks = hints.decimal is not None or hints.thousands is not None
        self._batch = -1
        self._known = 0
        self._plain = 0
        self._odd: tuple[int, str] | None = None
        """Row and text of the first value that is no plain number."""
        self._head: list[str] = []
        self._counts: list[Count] = []
        self._traits: dict[str, Count] = {}
        self._tries = 0
        self._identity: str | None = None
        """A whole number that float64 does not have."""

    def see(self, texts: Any, first_row: int) -> None:
        """Take the texts of the next batch into account."""
        self._batch += 1
        known = len(texts) - texts.null_count
        if self._declared == "date":
            self.dates.see(texts, first_row)
        if not known or self._declared not in (None, "numeric"):
            return
        is_plain = pc.match_substring_regex(texts, UNPADDED)
        plain = pc.sum(is_plain).as_py()
        if self._declared is None:
            self.dates.see(texts, first_row, may_begin=plain < known)
        if not self._head:
            self._head = texts[: 8 * HEAD].drop_null()[:HEAD].to_pylist()
        if plain < known:
            self._look_at_odd(texts, is_plain, first_row)
        elif self._plain == self._known and self._identity is None:
            self._look_for_identities(texts)
        if self._has_marks and not self._counts and not self._tries:
            self._consider(candidates(self._head, self._marks, needs_unit=False))
        self._known += known
        self._plain += plain
        for count in (*self._counts, *self._traits.values()):
            count.add(texts, first_row)
        self._counts = [count for count in self._counts if count.hits >= PARTLY * count.seen]

    def look_again(self, texts: Any, batch: int, first_row: int) -> None:
        """Take the texts of batch number `batch` into account where they were not before."""
        for count in (*self._counts, *self._traits.values()):
            if batch < count.since:
                count.add(texts, first_row)
        self._counts = [count for count in self._counts if count.hits >= PARTLY * count.seen]

    def is_late(self, batch: int) -> bool:
        """Return whether `look_again` needs batch number `batch`."""
        return any(count.since > batch for count in self._counts)

    def doubt_points(self) -> None:
        """Consider that points are thousands marks, since other columns have a decimal comma."""
        has_points = any("." in text for text in self._head)
        if self._plain == self._known and has_points and not self._has_marks:
            candidate = of_numbers(POINTS, needs_unit=False)
            self._counts.append(Count(candidate, self._batch + 1))

    @property
    def has_decimal_comma(self) -> bool:
        """Whether the numbers have a decimal comma beyond doubt."""
        return self._decimals() == {","}

    @property
    def has_decimal_point(self) -> bool:
        """Whether the numbers have a decimal point beyond doubt."""
        if self._plain < self._known:
            return self._decimals() == {"."} and self._traits[MARKS_SEEN].hits > 0
        return any("." in text and number_in(text, POINTS) is None for text in self._head)

    def conclude(
        self, decimal_comma: bool, day_first: bool = False
    ) -> tuple[Spelling, list[Finding]]:
        """Return the spelling of the column; `decimal_comma` and `day_first` settle what its own
        texts leave open.

        Raises:
            Invalid: most values are numbers or dates, but not all, and the file does not quote them
                as texts; or the column is declared to hold dates, and one value is none.
        """
        if self._declared == "date":
            return self._of_dates(self.dates.declared(self.name), day_first)
        if self._declared not in (None, "numeric"):
            return Spelling(kind=self._declared), []
        whole = [count for count in self._counts if count.hits == self._known]
        words = [c for c in whole if c.notation is None] if self._declared is None else []
        if words:
            return words[0].candidate.spelling, self._told(words[0].candidate)
        if self._declared is None and (reading := self.dates.reading()) is not None:
            return self._of_dates(reading, day_first)
        notations = [n for c in whole if (n := c.notation) is not None and self._is_plain_case(n)]
        if notations:
            notation = self._chosen(notations, decimal_comma)
            return Spelling(kind="numeric", notation=notation), self._read_as(notation)
        if self._plain == self._known:
            return Spelling(kind="numeric"), self._not_as_named()
        if self._declared == "numeric":
            return self._closest(), []  # the writer names the first value that is none
        return Spelling(kind="categorical"), self._left_as_categories()

    def _of_dates(
        self, reading: DateReading | None, day_first: bool
    ) -> tuple[Spelling, list[Finding]]:
        """Return the spelling of a column of dates; None has no value."""
        if reading is None:
            return Spelling(kind="date", date=ISO.name), []
        if day_first:
            reading = reading.day_first()
        found: dict[FindingKind, str | None] = {
            "ambiguous_date": ambiguity(self.name, reading),
            "date_format": short_years(self.name, reading),
        }
        return Spelling(kind="date", date=reading.form.name), [
            Finding(self.name, kind, message) for kind, message in found.items() if message
        ]

    def _look_at_odd(self, texts: Any, is_plain: Any, first_row: int) -> None:
        if self._odd is None:
            index = pc.index(is_plain, False).as_py()
            self._odd = first_row + index, texts[index].as_py()
        if self._tries < TRIES and not self._counts:
            self._tries += 1
            sample = texts.filter(pc.invert(is_plain))[:SAMPLE].to_pylist()
            self._consider(candidates(sample, self._marks, needs_unit=self._declared is None))

    def _consider(self, found: list[Candidate]) -> None:
        since = self._batch if self._known else 0
        self._counts = [Count(candidate, since) for candidate in found]
        self._traits = {name: Count(trait, since) for name, trait in TRAITS.items()}

    def _look_for_identities(self, texts: Any) -> None:
        """Consider that whole numbers too large for float64 are identities."""
        if pc.max(pc.binary_length(texts)).as_py() < len(LARGEST_EXACT):
            return
        if not all(text.lstrip("+-").isdecimal() for text in self._head):
            return
        digits = pc.utf8_ltrim(texts, "+-")
        length = pc.utf8_length(digits)
        at_limit = pc.equal(length, len(LARGEST_EXACT))
        is_large = pc.or_(
            pc.greater(length, len(LARGEST_EXACT)),
            pc.and_(at_limit, pc.greater(digits, LARGEST_EXACT)),
        )
        index = pc.index(is_large, True).as_py()
        if index >= 0:
            self._identity = texts[index].as_py()
            self._counts.append(Count(IDENTITIES, self._batch if self._known else 0))

    def _decimals(self) -> set[str]:
        """Return the decimal marks with which every text seen is a number."""
        return {
            count.notation.decimal
            for count in self._counts
            if count.hits == count.seen and count.notation is not None
        }

    def _hits(self, trait: str) -> int:
        return self._traits[trait].hits if trait in self._traits else 0

    def _is_plain_case(self, notation: Notation) -> bool:
        """Return whether numbers of a notation are plainly numbers, or the user says so."""
        if self._declared == "numeric":
            return True
        return (
            is_known(notation.unit)
            and self._hits(PARENTHESES) < self._known
            and 2 * self._hits(BOUNDS) <= self._known
        )

    def _chosen(self, notations: list[Notation], decimal_comma: bool) -> Notation:
        wanted = "," if decimal_comma and self._hits(MARKS_SEEN) else notations[0].decimal
        notation = next((n for n in notations if n.decimal == wanted), notations[0])
        seen = {
            "parentheses": self._hits(PARENTHESES) > 0,
            "bounds": self._hits(BOUNDS) > 0,
        }
        return notation.model_copy(update=seen)

    def _read_as(self, notation: Notation) -> list[Finding]:
        """Return the finding about numbers of a notation that the user did not name."""
        if notation == PLAIN or (self._has_marks and not notation.unit):
            return []
        text = self._example()
        value = number_in(text, notation)
        message = f"{self.name!r} is read as numbers: {shown(text)} is {text_of(value or 0.0)}"
        if self._hits(MARKS_SEEN) and len(self._decimals()) > 1 and not self._has_marks:
            other = "." if notation.decimal == "," else ","
            message += f"; if {other!r} is the decimal mark, set decimal={other}"
        else:
            message += "; if these are no numbers, list the column in categorical"
        return [Finding(self.name, "notation", message)]

    def _told(self, candidate: Candidate) -> list[Finding]:
        """Return the finding about texts that could also be numbers, but are read as categories."""
        if candidate is CODES:
            message = (
                f"{self.name!r} has leading zeros, as in {shown(self._example())}: it is read as "
                "categories; if it is a quantity, list it in numeric"
            )
            return [Finding(self.name, "leading_zeros", message)]
        if candidate is IDENTITIES:
            message = (
                f"{self.name!r} has whole numbers that are too large to be exact, such as "
                f"{self._identity}: it is read as categories; if it is a quantity, list it in "
                "numeric"
            )
            return [Finding(self.name, "inexact", message)]
        return []

    def _not_as_named(self) -> list[Finding]:
        if self._identity is not None:
            message = (
                f"{self.name!r} has whole numbers that are too large to be exact, such as "
                f"{self._identity}: they are rounded to 16 digits"
            )
            return [Finding(self.name, "inexact", message)]
        if self._has_marks and any("." in text or "," in text for text in self._head):
            message = f"{self.name!r} is not written with the given marks; it is read with a point"
            return [Finding(self.name, "notation", message)]
        return []

    def _left_as_categories(self) -> list[Finding]:
        """Return the finding about a column of categories that looks like numbers.

        Raises:
            Invalid: most values are numbers or dates, but not all.
        """
        if (fault := self.dates.fault(self.name)) is not None:
            raise Invalid(fault)
        codes = next((count for count in self._counts if count.candidate is CODES), None)
        if codes is not None and codes.hits >= MOSTLY * self._known:
            return self._told(CODES)
        best = max(
            (count for count in self._counts if count.notation is not None),
            key=lambda count: count.hits,
            default=None,
        )
        hits, odd, notation = self._plain, self._odd, PLAIN
        if best is not None and best.hits > self._plain:
            hits, odd, notation = best.hits, best.odd, best.notation or PLAIN
        if odd is None:  # all are numbers, but not plainly
            message = (
                f"{self.name!r} is read as categories; to read {shown(self._example())} as a "
                "number, list it in numeric"
            )
            return [Finding(self.name, "numbers_as_text", message)]
        like = "" if notation == PLAIN else f", written like {shown(self._example())}"
        row, text = odd
        is_number = self._known >= FEW_ROWS and hits >= MOSTLY * self._known
        if is_number and not self._is_quoted:
            raise Invalid(
                f"row {row}, column {self.name!r}: {shown(text)} is not a number, but {hits:,} of "
                f"{self._known:,} values are{like}; correct it, add it to `missing`, or add the "
                "column to `categorical`"
            )
        if hits < PARTLY * self._known:
            return []
        message = (
            f"{self.name!r} is read as categories, but {hits:,} of {self._known:,} values are "
            f"numbers{like}; to read them as numbers, correct the others or add them to missing: "
            f"{shown(text)}"
        )
        return [Finding(self.name, "numbers_as_text", message)]

    def _closest(self) -> Spelling:
        """Return the spelling of numbers that suits most texts."""
        counts = [count for count in self._counts if count.notation is not None]
        best = max(counts, key=lambda count: count.hits, default=None)
        if best is None or best.hits <= self._plain:
            return Spelling(kind="numeric")
        return best.candidate.spelling

    def _example(self) -> str:
        return self._odd[1] if self._odd else next(t for t in self._head if "." in t or "," in t)


def shown(text: str) -> str:
    """Return a text as shown in messages, shortened."""
    return repr(text) if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]!r}..."
