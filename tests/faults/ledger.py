"""What was tried and what became of it, as a page of the documentation."""

from __future__ import annotations

from dataclasses import dataclass, field

WELL, REPAIRED, LOST = "the run ended right", "failed clearly, a re-run repaired it", "NOT REPAIRED"

HEAD = """\
# Faults

Written by `make test-faults`, which starts the stack without containers on a small generated year, breaks it in each of
these ways, and then checks: the files that manifests name (SHA-256), the objects for people, the raw files, every registered
model (loaded with its signature), what the API serves, and that the run gave the same scores as an undisturbed one. A fault
is survived when the run ends right by itself, after retries, or fails with its reason and a plain trigger afterwards ends right.

"""


@dataclass
class Row:
    """One fault."""

    fault: str
    stage: str
    outcome: str = LOST
    story: str = "the test broke off"
    lost: list[str] = field(default_factory=lambda: ["not checked"])


@dataclass
class Ledger:
    """All faults of a session, and counts of other trials by their description."""

    rows: list[Row] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)

    def begin(self, fault: str, stage: str) -> Row:
        """Note a fault as lost, until it is known to be survived."""
        self.rows.append(Row(fault, stage))
        return self.rows[-1]

    def page(self) -> str:
        """Return the page."""
        lines = ["| fault | when | what happened | outcome | lost |", "|---|---|---|---|---|"]
        for row in self.rows:
            lost = "; ".join(row.lost) or "nothing"
            lines.append(f"| {row.fault} | {row.stage} | {row.story} | {row.outcome} | {lost} |")
        survived = sum(row.outcome != LOST and not row.lost for row in self.rows)
        alone = sum(row.outcome == WELL for row in self.rows)
        told = (
            f"\n**Tried: {len(self.rows)}. Survived: {survived} ({alone} ended right in their own run, {survived - alone} by a re-run). "
            f"Anything lost: {sum(bool(row.lost) for row in self.rows)}.**\n"
        )
        counts = "".join(f"\n- {line}" for line in self.counts)
        return HEAD + "\n".join(lines) + "\n" + told + (f"\nBeside these:\n{counts}\n" if counts else "")
