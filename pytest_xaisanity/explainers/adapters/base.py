"""What an adapter is, and what adapters check in common."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Generic, TypeVar

from torch import nn

from ...common.errors import XaiError, unknown_name
from ...model.inventory import plain_name
from ...model.smooth import Smooth
from ..explainer import Request, Tokens
from .keys import key_of

__all__ = [
    "Adapter",
    "Attribute",
    "Settings",
    "Source",
    "check_keywords",
    "check_missing",
    "check_model",
    "classes_of",
    "module_of",
    "name_of",
    "no_multiplier",
    "no_rules",
    "shown",
]

Attribute = Callable[[Request], object]
Settings = Mapping[str, object]
Source = TypeVar("Source")


class Adapter(ABC, Generic[Source]):
    """Makes explainers of one family of objects, of type ``Source``: those of a library, or of one's own.

    An adapter says which objects are its own and how each is called; the rest has defaults. It is tried on whatever is
    given to ``xai.explainer``, so ``accepts`` must tell from the object alone, without importing the library: whoever
    holds such an object has imported it. An adapter has no state.

    >>> class Ours(Adapter[OurMethod]):
    ...     def accepts(self, source):
    ...         return isinstance(source, OurMethod)
    ...
    ...     def attribute(self, source, model, settings, *, where):
    ...         check_keywords(source.explain, settings, where, own=("x", "label"))
    ...         return lambda request: source.explain(request.inputs[0], request.targets, **settings)

    One of this package is a file and a line in ``ADAPTERS``; other packages register theirs, the class, under the
    entry-point group ``pytest_xaisanity.adapter``.
    """

    fallback: ClassVar[bool] = False
    """Whether it is tried after all the others, for it accepts more than one family."""

    @abstractmethod
    def accepts(self, source: object) -> bool:
        """Whether this adapter knows what to do with what the user gave, a class or an object."""

    @abstractmethod
    def attribute(self, source: Source, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that answers requests; all that can be checked without a request is checked here.

        It is called with gradients enabled, in a model in evaluation mode, on tensors of its own that it may change,
        and returns one tensor or array of attributions for each input tensor (a tuple or list for several): of the
        input's shape, or without or with one channel, or smaller where it has height and width. It leaves the model as
        it was. The model of the request may be another state of ``model``, or another object.

        Args:
            source: What ``accepts`` accepted.
            model: The subject's model.
            settings: The keywords that the user gave beside the source.
            where: For errors: the argument the source comes from, and its name.

        Raises:
            XaiError: A setting is unknown, or the source explains another model.
        """

    def built(self, source: Source, settings: Settings, *, where: str) -> tuple[Source, Settings]:
        """Return the object that is adapted, and the settings that are left to its calls."""
        return source, settings

    def name(self, source: Source, settings: Settings) -> str:
        """Return what verdicts call it: the name of the class or function, with the settings that are plain values."""
        return f"{name_of(source)}{shown(settings)}"

    def key(self, source: Source, settings: Settings) -> tuple[Hashable, ...]:
        """Return what is equal for explainers that explain alike: the source and the settings, by content."""
        return (key_of(source), key_of(dict(settings)))

    def with_multiplier(
        self, source: Source, settings: Settings, multiplier: str, *, where: str
    ) -> tuple[Source, Settings]:
        """Return the source and settings with which what is attributed is, or is not, multiplied by the inputs.

        Args:
            source: What the user gave.
            settings: The keywords beside it.
            multiplier: ``"with"``: attributions are global, what the inputs contribute in comparison with a baseline;
                ``"without"``: local, what a change of the inputs would do (Ancona et al. 2018).
            where: For errors.

        Raises:
            XaiError: The source has no multiplier, which is the default.
        """
        raise no_multiplier(source, where)

    def lighter(self, source: Source, settings: Settings) -> tuple[str, ...]:
        """Return the names of the settings with which it takes less memory when they are lowered."""
        return ()

    def tokens(self, source: Source, settings: Settings) -> Tokens:
        """Return what it explains of tokens: what the embedding makes of them, their ids, or either.

        ``"either"``, the default, gives it the ids, unless it asks for gradients of them.
        """
        return "either"

    def smooth(self, source: Source) -> Smooth | None:
        """Return how smooth the network is made that is explained, where it is not the model as given."""
        return None

    def precomputed(self, source: Source) -> bool:
        """Return whether its attributions are given, so that it can explain nothing again; by default not."""
        return False

    def rules(self, source: Source, model: nn.Module) -> AbstractContextManager[object]:
        """Return a context in which gradients through ``model`` are what the explainer's rule propagates instead.

        See :class:`~pytest_xaisanity.explainers.rules.base.BackwardRules`.

        Raises:
            XaiError: The explainer is none that backpropagates, which is the default.
        """
        raise no_rules(source)


def name_of(source: object) -> str:
    """Return the name of a function, a class or an object's class."""
    return str(getattr(source, "__name__", None) or type(source).__name__)


def shown(settings: Settings) -> str:
    """Return the settings that are plain values, in parentheses, or nothing."""
    plain = {k: v for k, v in settings.items() if isinstance(v, (bool, int, float, str))}
    return f"({', '.join(f'{k}={v}' for k, v in plain.items())})" if plain else ""


def classes_of(source: object, package: str) -> set[str]:
    """Return the names of all classes of ``package`` that ``source``, an object or a class, derives from."""
    kind = source if isinstance(source, type) else type(source)
    return {base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] == package}


_MULTIPLIED = (
    "Captum's IntegratedGradients, DeepLift, DeepLiftShap, GradientShap, their Layer and Neuron forms, "
    "LayerGradientXActivation, InputXGradient and Saliency, or a function with the keyword multiplier"
)


def no_multiplier(source: object, where: str, *, fix: str = "leave multiplier= out") -> XaiError:
    """Return the error for an explainer whose attributions are not, or not apart, multiplied by the inputs."""
    return XaiError(
        f"{where} multiplier", found=f"{name_of(source)}, which has none to switch", expected=_MULTIPLIED, fix=fix
    )


def no_rules(source: object, *, fix: str = "choose one of these") -> XaiError:
    """Return the error for an explainer whose backward pass cannot be taken apart."""
    return XaiError(
        "backward rules",
        found=f"{name_of(source)}, whose backward pass cannot be taken apart",
        expected="a rule explainer of pytest_xaisanity.explainers, a zennit composite or an attributor with one, or "
        "Captum's Deconvolution, GuidedBackprop, InputXGradient, IntegratedGradients, Saliency",
        fix=fix,
    )


def check_keywords(
    function: Callable[..., object],
    settings: Settings,
    where: str,
    *,
    own: Sequence[str | None],
    also: Iterable[str] = (),
    inner: Callable[..., object] | None = None,
) -> None:
    """Raise for a keyword that neither ``function`` nor ``also`` takes, or one of its ``own``, which we fill.

    Keywords that a function takes whatever their name are those of ``inner``, the function it passes them on to.
    """
    parameters = inspect.signature(function).parameters
    passed_on = {} if inner is None else dict(inspect.signature(inner).parameters)
    open_ended = not passed_on and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = [name for name, p in {**parameters, **passed_on}.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    known = [name for name in (*also, *named) if name not in own]
    for keyword in settings:
        if keyword in own:
            raise XaiError(
                where,
                found=f"{keyword}= among its settings",
                expected="no model, inputs or targets: these are the subject's",
                fix="override xai_targets" if keyword.startswith("target") else f"leave {keyword}= out",
            )
        if not known and not open_ended:
            raise XaiError(
                where,
                found=f"{keyword!r}",
                expected="no settings beside what holds its own, or takes none",
                fix=f"leave {keyword}= out, or set it where the explainer is made",
            )
        if keyword not in known and not open_ended:
            raise unknown_name(where, keyword, known, kind="keyword")


def check_missing(functions: Iterable[Callable[..., object]], filled: Iterable[str | None], where: str) -> None:
    """Raise when one of ``functions`` needs a keyword that is not ``filled``."""
    parameters = [one for function in functions for one in inspect.signature(function).parameters.values()]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [p.name for p in parameters if p.default is p.empty and p.kind not in optional and p.name not in filled]
    if missing:
        kind = {"layer": ", a module or its name", "target_layers": ", modules or their names"}.get(missing[0], "")
        raise XaiError(
            where,
            found=f"no {', '.join(missing)}",
            expected=f"the settings that {where.rpartition(' ')[2]} cannot do without",
            fix=f"pass {missing[0]}=... beside the class{kind}",
        )


def module_of(layer: object, model: object, where: str) -> object:
    """Return the module of ``model`` that a name stands for, or the one that is given itself.

    Raises:
        XaiError: The model has no such module.
    """
    if not isinstance(model, nn.Module):
        return layer
    modules = {plain_name(name): module for name, module in model.named_modules()}
    if isinstance(layer, str) and plain_name(layer) in modules:
        return modules[plain_name(layer)]
    if isinstance(layer, str):
        raise unknown_name(where, layer, [name for name in modules if name], kind="layer")
    if isinstance(layer, nn.Module) and not any(layer is module for module in model.modules()):
        raise XaiError(
            where,
            found=f"a {type(layer).__name__} that is no part of xai_model",
            expected="a module of the model that is explained",
            fix="give its name, as in named_modules()",
        )
    return layer


def check_model(source: object, theirs: object, ours: object, where: str) -> None:
    """Raise when an object is bound to another module than ours, which would not follow it through an intervention.

    Args:
        source: The object, for the error text.
        theirs: The model it is bound to.
        ours: The subject's model. One that shares a parameter with it, such as a wrapper of it, is no other.
        where: The argument that held the object.
    """
    if not isinstance(theirs, nn.Module) or not isinstance(ours, nn.Module) or theirs is ours:
        return
    known = {id(parameter) for parameter in ours.parameters()}
    parameters = [id(parameter) for parameter in theirs.parameters()]
    if parameters and not any(parameter in known for parameter in parameters):
        raise XaiError(
            where,
            found=f"a {type(source).__name__} instance that is bound to another model than xai_model",
            expected="an instance built with the very object that xai_model returns",
            fix=f"pass the class instead: xai.explainer({type(source).__name__}, ...)",
        )
