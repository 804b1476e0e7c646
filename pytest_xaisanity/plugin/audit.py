"""``--xai-audit``: once the tests have run, the claims that passed are put to mutants of their explainers."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .interrupts import leave
from .options import flag, setting
from .running import is_repeated
from .stream import Terminal

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

    from ..bench.audit import MutantSource
    from ..bench.bench import Bench, BoundExplainer
    from ..claims.base import Claim
    from ..report.audited import Audited
    from ..statistics.verdict import Verdict

__all__ = ["AUDIT", "Auditor"]

_OUTPUT = "xai_audit"
_WITHOUT_SEARCH = "without -n, a claim that would have caught it is looked for"


class _Passed:
    """The claims that one explainer of one subject passed, and the mutants of the suite."""

    def __init__(self, bench: Bench, explainer: BoundExplainer, subject: str) -> None:
        self.bench, self.explainer, self.subject = bench, explainer, subject
        self.mutants: dict[str, MutantSource] = {}
        self.claims: dict[Hashable, Claim] = {}

    def distinct(self) -> list[Claim]:
        """Return each claim once."""
        return list({claim.claim_id: claim for claim in self.claims.values()}.values())

    def begun(self) -> Audited:
        """Return the record of their audit, before it has judged a mutant."""
        from ..bench.audit import begun

        return begun(self.explainer.on(self.bench), self.subject, self.distinct(), self.mutants)


class Auditor:
    """A plugin for one session: gathers the claims that pass, and audits them when the tests are over."""

    def __init__(self, config: pytest.Config) -> None:
        from ..report.mutation import Mutations

        self._config = config
        self._worker = hasattr(config, "workerinput")
        self._passed: dict[Hashable, _Passed] = {}
        self._over = False
        self._interrupted = False
        self.found = Mutations()

    def decided(
        self,
        item: pytest.Item,
        bench: Bench,
        explainer: BoundExplainer,
        claim: Claim,
        verdict: Verdict,
        request: pytest.FixtureRequest,
    ) -> None:
        """Take note of a claim that an explainer passed in a test.

        A ``@given`` test makes its claims once an example, perhaps with other settings: the last one counts.
        """
        from ..bench.audit import checked_mutants, depends_on_the_explainer

        if not depends_on_the_explainer(claim):
            return
        subject = bench.fingerprint  # a model may be built anew for each test
        key = (subject, explainer.on(bench).key, id(bench) if claim.retrains else None)
        passed = self._passed.setdefault(key, _Passed(bench, explainer, subject))
        which = (item.nodeid, claim.kind) if is_repeated(item) else claim.claim_id
        if verdict.passed:
            passed.mutants |= checked_mutants(request.getfixturevalue("xai_mutants"))
            passed.claims[which] = claim
        else:
            passed.claims.pop(which, None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Audit after the last test, and count a score that is too low as a failure."""
        result = yield
        self._over = self._interrupted = True
        self._audit()
        self._interrupted = False
        least = setting(self._config, "audit_fail_under")
        if not self._worker and not session.config.getoption("collectonly"):
            session.testsfailed += bool(self.found.count("broken") or (least and self.found.below(least)))
        return result

    def _audit(self) -> None:
        waiting = [passed for passed in self._passed.values() if passed.claims]
        total = sum(len(passed.distinct()) * len(passed.mutants) for passed in waiting)
        if not waiting:
            return
        with warnings.catch_warnings(), self._captured(), self._bar(total) as bar:
            warnings.simplefilter("ignore")  # they were said of the originals
            records = [passed.begun() for passed in waiting]
            try:
                for passed, record in zip(waiting, records, strict=True):
                    self._audit_into(record, passed, bar)
            finally:  # an interrupt leaves what was judged before it
                for record in records:
                    self.found.add(record)

    def _audit_into(self, record: Audited, passed: _Passed, bar: tqdm[None]) -> None:
        from ..bench.audit import audit

        bench, explainer, claims = passed.bench, passed.explainer.on(passed.bench), passed.distinct()
        bench.pictures = False  # no report shows those of mutants

        def advance(name: str) -> None:
            bar.set_postfix_str(f"{explainer.name} / {name}", refresh=False)
            bar.update()

        try:
            audit(
                bench,
                explainer,
                claims,
                mutants=passed.mutants,
                killed=self._kills,
                every=setting(self._config, "audit_all"),
                suggest=not self._worker,
                advance=advance,
                into=record,
            )
        except Exception as error:  # the fixtures of the suite are torn down, and something may be gone with them
            why = f"after the tests it raised {type(error).__name__}: {error}"
            record.claims, record.mutations, record.dropped = [], {}, dict.fromkeys(record.words, why)
        for mutation in record.mutations.values():
            if mutation.status == "survived" and self._worker:
                mutation.reason = _WITHOUT_SEARCH

    def _kills(self, verdict: Verdict) -> bool:
        """Whether a test that asserts the verdict would fail."""
        return verdict.failed or (verdict.inconclusive and setting(self._config, "inconclusive") == "fail")

    def _bar(self, total: int) -> tqdm[None]:
        """Return a progress bar for the terminal."""
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        stream = Terminal(self._config)
        return tqdm(total=total, file=stream, desc="xai audit", disable=None, leave=False, unit="claim")

    @contextmanager
    def _captured(self) -> Iterator[None]:
        """Keep what models and explainers print from the terminal, as during a test."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            yield
            return
        capture.resume_global_capture()
        try:
            yield
        finally:
            capture.suspend_global_capture()
            capture.read_global_capture()

    def pytest_sessionfinish(self) -> None:
        """Send what a worker found to the controller, which does not hear it where it has been interrupted itself."""
        if hasattr(self._config, "workeroutput"):
            plain = [record.plain() for record in self.found.records]
            self._config.workeroutput[_OUTPUT] = plain
            if self._interrupted:
                leave(self._config, {"audited": plain})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker found."""
        self.take(getattr(node, "workeroutput", {}).get(_OUTPUT, []))

    def take(self, audited: Iterable[Mapping[str, Any]], *, interrupted: bool = False) -> None:
        """Take over records of a worker, which may have been interrupted."""
        from ..report.audited import Audited

        if interrupted:
            self._over = self._interrupted = True

        for record in audited:
            self.found.add(Audited.of_plain(record))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write survivors and the table."""
        if self._config.getoption("collectonly"):
            return
        if not self._over:
            terminalreporter.section("audit of the claims")
            terminalreporter.write_line("the session stopped before its end: nothing was audited", yellow=True)
            return
        from ..report.text import wrapped

        width = self._config.get_terminal_writer().fullwidth
        terminalreporter.section(self.found.headline())
        if self._interrupted:
            for line in wrapped(self.found.interrupted(), width):
                terminalreporter.write_line(line, yellow=True)
        if self._interrupted and not self.found.records:
            return
        for line, markup in self.found.lines(width=width):
            terminalreporter.write_line(line, **markup)
        least = setting(self._config, "audit_fail_under")
        if least and (reason := self.found.below(least)):
            terminalreporter.write_line(f"{flag('audit_fail_under')}: found {reason}", red=True)


AUDIT = pytest.StashKey[Auditor]()
