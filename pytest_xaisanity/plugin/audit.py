"""``--xai-audit``: once the tests have run, the claims that passed are put to mutants of their explainers."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from ..report.mutation import Mutations
from .options import flag, setting
from .stream import Terminal

if TYPE_CHECKING:
    from ..bench import Bench
    from ..claims import Claim
    from ..explainers import Explainer
    from ..verdict import Verdict

__all__ = ["AUDIT", "Auditor"]

_OUTPUT = "xai_audit"
_WITHOUT_SEARCH = "without -n, a claim that would have caught it is looked for"


class Auditor:
    """A plugin for one session: gathers the claims that pass, and audits them when the tests are over."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._passed: dict[tuple[Any, ...], tuple[Bench, Explainer, dict[str, Claim]]] = {}
        self._mutants: dict[str, Any] = {}
        self.found = Mutations()

    def passed(self, bench: Bench, explainer: Explainer, claim: Claim, mutants: Any) -> None:
        """Take note of a claim that an explainer passed; ``mutants`` are those of the suite."""
        from ..audit import checked_mutants, depends_on_the_explainer

        self._mutants = self._mutants or checked_mutants(mutants)
        if depends_on_the_explainer(claim):
            _, _, claims = self._passed.setdefault((id(bench), explainer.key), (bench, explainer, {}))
            claims.setdefault(str(claim), claim)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Audit after the last test, and count a score that is too low as a failure."""
        result = yield
        if self._passed:
            self._audit()
        least, worker = setting(self._config, "audit_fail_under"), hasattr(self._config, "workerinput")
        collected = session.config.getoption("collectonly")
        if not worker and not collected and (self.found.count("broken") or (least and self.found.below(least))):
            session.testsfailed += 1
        return result

    def _audit(self) -> None:
        from ..audit import audit

        alone = not hasattr(self._config, "workerinput")
        total = sum(len(claims) for _, _, claims in self._passed.values()) * len(self._mutants)
        with warnings.catch_warnings(), self._bar(total) as bar:
            warnings.simplefilter("ignore")  # they were said of the originals
            for bench, explainer, claims in self._passed.values():

                def advance(name: str, explainer: Explainer = explainer) -> None:
                    bar.set_postfix_str(f"{explainer.name} / {name}", refresh=False)
                    bar.update()

                audited = audit(
                    bench, explainer, list(claims.values()), mutants=self._mutants, killed=self._kills,
                    every=setting(self._config, "audit_all"), suggest=alone, advance=advance,
                )  # fmt: skip
                record = audited.plain()
                for mutation in record["mutations"].values():
                    if mutation["status"] == "survived" and not alone:
                        mutation["reason"] = _WITHOUT_SEARCH
                self.found.add(record)

    def _kills(self, verdict: Verdict) -> bool:
        """Whether a test that asserts the verdict would fail."""
        return verdict.failed or (verdict.inconclusive and setting(self._config, "inconclusive") == "fail")

    def _bar(self, total: int) -> Any:
        """Return a progress bar for the terminal."""
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        stream = Terminal(self._config)
        return tqdm(total=total, file=stream, desc="xai audit", disable=None, leave=False, unit="claim")

    def pytest_sessionfinish(self) -> None:
        """Send what a worker found to the controller."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_OUTPUT] = self.found.records

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker found."""
        for record in getattr(node, "workeroutput", {}).get(_OUTPUT, []):
            self.found.add(record)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write survivors and the table."""
        terminalreporter.section(self.found.headline())
        for line, markup in self.found.lines():
            terminalreporter.write_line(line, **markup)
        least = setting(self._config, "audit_fail_under")
        if least and (reason := self.found.below(least)):
            terminalreporter.write_line(f"{flag('audit_fail_under')}: found {reason}", red=True)


AUDIT = pytest.StashKey[Auditor]()
