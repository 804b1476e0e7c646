"""Cosine similarity convergence against one forward pass and the backward passes of its draws.

Run it as ``python benchmarks/convergence.py``. Everything runs in one process on one thread, in turns, and is counted
in CPU time; a ratio is the median over rounds of a measurement over the bare passes of the same round.

Every layer below the logits is measured on 64 inputs, by plain gradients. Bare: one forward pass, and one backward pass
to the input for each draw. Short: the same, down to the lowest layer only, where the meter stops when the input has a
single channel (LeNet). Sweep: the meter on a block of inputs. Claim: also the bench, the search for the layers and the
decision, which are paid once, whatever the number of inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import Saliency
from overhead import asked, report
from subjects import SUBJECTS, Subject

from pytest_xaisanity import Bench
from pytest_xaisanity.evidence.base import Lab
from pytest_xaisanity.evidence.metrics.cosine_similarity_convergence import CosineSimilarityConvergence
from pytest_xaisanity.explainers.attributions import Attributions

DRAWS = 5
LOWEST = {"lenet": "2", "resnet18": "maxpool"}


def main() -> None:
    """Measure and print a table of ratios."""
    options = asked(__doc__)
    for name in options.subject or SUBJECTS:
        report(f"{name:<9} convergence", convergence(SUBJECTS[name](), LOWEST[name]), options.rounds)


def convergence(subject: Subject, lowest: str) -> dict[str, Callable[[], object]]:
    """Return the bare passes, those that end at the module ``lowest``, the meter, and the claim."""
    model, inputs, targets = subject

    def passes(last: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
        seen = [inputs.clone().requires_grad_()]
        handle = model.get_submodule(lowest).register_forward_hook(lambda module, args, output: seen.append(output))
        outputs = model(seen[0])
        handle.remove()
        for draw in range(DRAWS):
            torch.autograd.grad(outputs, last(seen), torch.randn_like(outputs), retain_graph=draw + 1 < DRAWS)

    def claim() -> None:
        bench = Bench(model, inputs, targets, device="cpu")
        explainer = bench.explainer(Saliency)
        verdict = explainer.bounded("cosine_similarity_convergence", at_most=0.9, draws=DRAWS, early=False)
        assert len(verdict.evidence["convergence"]) > 4

    return {
        "bare": lambda: passes(lambda seen: seen[0]),
        "short": lambda: passes(lambda seen: seen[1]),
        "sweep": sweep(subject),
        "claim": claim,
    }


def sweep(subject: Subject) -> Callable[[], object]:
    """Return the measurement alone: what each further block of inputs costs."""
    bench = Bench(*subject, device="cpu")
    lab = Lab(bench.subject, Attributions(bench.subject, bench.explainer(Saliency).explainer, 0), seed=0)
    block = next(bench.subject.blocks(early=False))
    measuring = CosineSimilarityConvergence(draws=DRAWS).measurement().start(lab, block)
    return lambda: measuring.measure(block)


if __name__ == "__main__":
    main()
