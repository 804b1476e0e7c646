"""The blocks of code in README.md and docs/ run, and every name there is has its page.

What a block asserts depends on the network, so that what is tested here is that it runs and is a verdict where it
asserts one: whether a claim holds is what the examples test.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from retraining import problem
from sentences import Transformer, sentences

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS
from pytest_xaisanity.explainers import LRP, VarGrad
from pytest_xaisanity.report.json import write

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md"))]
OF_TOKENS = ("docs/text.md", "docs/metrics/comprehensiveness.md", "docs/metrics/sufficiency.md")
IN_ROAR = {"kar": "roar"}
OF_EXTRAS = ("dask", "ray")  # whose clusters have tests of their own
_OF_LIBRARIES = r"transformers as hf|\bhf\.|LLMAttribution\(|\bages\b|shap\.|quantus\.|BinaryAUROC"


def blocks(page: str) -> list[str]:
    """Return the blocks of Python of a page, but for those of libraries whose objects have tests of their own."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [block for block in found if not re.search(_OF_LIBRARIES, block)]


WITH_BLOCKS = [page for page in PAGES if blocks(page)]


class Looks(ast.NodeTransformer):
    """Assertions that only look whether what they assert is a verdict, or true of it."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        call = ast.Call(ast.Name("looked", ast.Load()), [node.test], [])
        return ast.copy_location(ast.Expr(call), node)


def looked(found: object) -> None:
    assert isinstance(found, Verdict | bool), f"asserts neither a verdict nor what is true or false, but {found!r}"


class Network(torch.nn.Module):
    """A small network for images ``(N, 2, 8, 8)`` of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU()
        self.conv2, self.relu2 = torch.nn.Conv2d(4, 6, 3), torch.nn.ReLU()
        self.head = torch.nn.Linear(6 * 4 * 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu2(self.conv2(self.relu1(self.conv1(images)))).flatten(1))


@functools.cache
def images() -> torch.Tensor:
    return problem(16, 2, shape=(2, 8, 8))[0]


def trained(inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> torch.nn.Module:
    """Return the network, trained by a few steps: enough for two hundred inputs to be learned by heart."""
    torch.manual_seed(seed)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model.eval()


def of_images() -> Bench:
    data = (*problem(60, 0, shape=(2, 8, 8)), *problem(200, 1, shape=(2, 8, 8)))
    return Bench(trained(*data[:2], 0), images(), device="cpu", train=trained, training_data=data)


def of_tokens() -> Bench:
    return Bench(Transformer().eval(), sentences(16), embedding="embedding", device="cpu")


def namespace(page: str) -> dict[str, object]:
    """Return what the blocks take for granted."""
    bench = of_tokens() if page in OF_TOKENS else of_images()
    write(Path("claims.json"), [], settings={"seed": 0, "device": "cpu", "confidence": 0.95, "inconclusive": "fail"})
    bound = {name: bench.explainer(source, **settings) for name, source, settings in (
        ("ig", IntegratedGradients, {"n_steps": 4}),
        ("saliency", Saliency, {"abs": False}),
        ("smoothgrad", NoiseTunnel(Saliency(bench.subject.model)), {"nt_samples": 4}),
    )}  # fmt: skip
    if page not in OF_TOKENS:
        bound["rule"] = bench.explainer(LRP("zplus"))
        bound["edges_of_mine"] = bench.explainer(lambda model, inputs, targets: inputs.abs(), name="edges of mine")
    known = (pytest, torch, Bench, IntegratedGradients, Saliency, LRP, VarGrad)
    return {
        **{one.__name__: one for one in known},
        **bound,
        "bench": bench,
        "xai": bench,
        "model": bench.subject.model,
        "images": images(),
        "verdict": bound["ig"].changes_under("cascading_randomization"),
        "looked": looked,
    }


def compiled(page: str) -> Iterator[tuple[str, object]]:
    for block in blocks(page):
        tree = ast.fix_missing_locations(Looks().visit(ast.parse(block)))
        yield block, compile(tree, page, "exec")


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_every_block_is_python(page):
    assert list(compiled(page))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_every_block_runs(page, monkeypatch, tmp_path):
    """In the order of the page; tests that a block defines are called where what they ask for is there."""
    monkeypatch.chdir(tmp_path)
    names = namespace(page)
    for _, code in compiled(page):
        before = dict(names)
        try:
            exec(code, names)
        except ModuleNotFoundError as missing:
            if missing.name not in OF_EXTRAS:
                raise
            pytest.skip(f"{missing.name} is not installed")
        for name, made in names.items():
            if name.startswith("test_") and made is not before.get(name):
                asked = inspect.signature(made).parameters
                if names.keys() >= set(asked):
                    made(**{key: names[key] for key in asked})


@pytest.mark.parametrize("registry", [METRICS, INTERVENTIONS, BASELINES], ids=lambda registry: registry.kind)
def test_every_name_has_its_page(registry):
    folder = DOCS / f"{registry.kind.rpartition('.')[2]}s"
    for name in registry:
        text = (folder / f"{IN_ROAR.get(name, name)}.md").read_text(encoding="utf-8")
        assert {"## Cost", "```python"} <= {line for line in text.splitlines() if line in ("## Cost", "```python")}, (
            name
        )
        assert name in text.casefold(), name


def test_every_page_is_in_the_contents():
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^[\w/*]+$", contents, re.MULTILINE))
    for page in DOCS.rglob("*.md"):
        name = str(page.relative_to(DOCS).with_suffix(""))
        assert name == "index" or name in named or f"{page.parent.name}/*" in named, name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        assert ((ROOT / page).parent / target).exists(), target
