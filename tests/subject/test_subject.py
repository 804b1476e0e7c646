"""The subject: what it accepts, how it is cut into blocks, and how the model is given back."""

import itertools
import random
import warnings

import numpy as np
import pytest
import torch
from laboratory import lab_of
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_xaisanity.common.errors import XaiError, XaiWarning
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.subject import window
from pytest_xaisanity.subject.batches import MicroBatches, out_of_memory
from pytest_xaisanity.subject.outputs import select
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:xai_model was in training mode")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(features=5, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, classes)).eval()


def blocks_of(subject, **settings):
    with subject.lent():
        return list(subject.blocks(**settings))


def in_order(blocks):
    """Inputs and targets in the order in which the user gave them."""
    indices = torch.tensor([i for block in blocks for i in block.indices])
    inputs = torch.cat([block.inputs[0] for block in blocks])
    targets = None if blocks[0].targets is None else torch.cat([block.targets for block in blocks])
    order = indices.argsort()
    return inputs[order], None if targets is None else targets[order]


def raised(model, inputs, targets=None, **settings):
    model = model.eval() if isinstance(model, nn.Module) else model
    with pytest.raises(XaiError) as caught:
        blocks_of(Subject(model, inputs, targets, **settings))
    return caught.value


class TestBlocks:
    def test_end_at_the_looks(self):
        lengths = [len(block) for block in blocks_of(Subject(linear(), normal(150, 5)))]
        assert lengths == [16, 16, 32, 64, 22]

    def test_hold_64_inputs_when_no_early_look_is_wanted(self):
        assert [len(block) for block in blocks_of(Subject(linear(), normal(150, 5)), early=False)] == [64, 64, 22]

    @pytest.mark.parametrize("count", [1, 15, 16, 17, 32, 64, 128])
    def test_only_the_last_one_says_so(self, count):
        for inputs in (normal(count, 5), [normal(count, 5)]):
            blocks = blocks_of(Subject(linear(), inputs))
            assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
            assert sum(map(len, blocks)) == count

    def test_visit_every_input_of_a_tensor_once_in_a_random_order_of_the_seed(self):
        x = normal(70, 5)
        visits = {seed: [b.indices for b in blocks_of(Subject(linear(), x, seed=seed))] for seed in (0, 1)}
        assert visits[0] != visits[1]
        assert visits[0] == [b.indices for b in blocks_of(Subject(linear(), x))]
        assert sorted(sum(visits[0], ())) == list(range(70))
        assert torch.equal(in_order(blocks_of(Subject(linear(), x)))[0], x)

    @pytest.mark.parametrize("sizes", [(70,), (1,) * 70, (7,) * 10, (16, 16, 38), (64, 6), (0, 70), (69, 1)])
    def test_of_a_stream_are_those_of_a_tensor_whatever_its_batches(self, sizes):
        x = normal(70, 5)
        blocks, expected = blocks_of(Subject(linear(), list(x.split(sizes)))), blocks_of(Subject(linear(), x))
        assert [block.indices for block in blocks] == [block.indices for block in expected]
        assert all(torch.equal(*pair) for pair in zip(*(in_order(each) for each in (blocks, expected)), strict=True))

    def test_have_a_head(self):
        block = blocks_of(Subject(linear(), normal(20, 5)))[0].part(0, 3)
        assert len(block) == len(block.inputs[0]) == len(block.targets) == 3


class TestInputs:
    model = staticmethod(linear)

    @pytest.mark.parametrize(
        "make",
        [
            lambda x: x,
            lambda x: (x,),
            lambda x: x.numpy(),
            lambda x: x.numpy()[::-1][::-1],
            lambda x: x.double(),
            lambda x: list(x.split(9)),
            lambda x: [part.numpy() for part in x.split(9)],
            lambda x: iter(x.split(9)),
            lambda x: (part for part in x.split(9)),
            lambda x: DataLoader(TensorDataset(x), batch_size=9),
            lambda x: x.clone().requires_grad_(),
            lambda x: x.T.contiguous().T,
        ],
    )
    def test_may_be_any_of_what_users_have(self, make):
        x = normal(40, 5)
        model = linear()
        inputs, targets = in_order(blocks_of(Subject(model, make(x))))
        assert torch.equal(inputs, x)
        assert inputs.dtype == torch.float32
        assert not inputs.requires_grad
        assert torch.equal(targets, model(x).argmax(1))

    @pytest.mark.parametrize("shape", [(), (4,), (3, 4), (3, 4, 4), (2, 3, 4, 4)])
    def test_may_have_any_rank(self, shape):
        class Mean(nn.Module):
            def forward(self, x):
                mean = x.reshape(len(x), -1).mean(1)
                return torch.stack([mean, -mean], 1)

        x = normal(20, *shape)
        inputs, targets = in_order(blocks_of(Subject(Mean(), x)))
        assert torch.equal(inputs, x)
        assert torch.equal(targets, Mean()(x).argmax(1))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_are_cast_to_the_type_of_the_model(self, dtype):
        block = blocks_of(Subject(linear().to(dtype), normal(20, 5)))[0]
        assert block.inputs[0].dtype == dtype

    def test_that_are_integers_stay_integers(self):
        model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2)).to(torch.bfloat16)
        assert blocks_of(Subject(model.eval(), torch.randint(7, (20, 3))))[0].inputs[0].dtype == torch.int64

    def test_may_be_several(self):
        class Two(nn.Module):
            def forward(self, a, b):
                return torch.stack([a.sum(1), b.sum(1)], 1)

        a, b = normal(20, 3), normal(20, 4, seed=1)
        for inputs in ((a, b), (a.numpy(), b.numpy()), iter([(a, b)]), [[[a, b], torch.zeros(20).long()]]):
            blocks = blocks_of(Subject(Two(), inputs))
            order = torch.tensor([i for block in blocks for i in block.indices])
            assert all(torch.equal(torch.cat([bl.inputs[k] for bl in blocks]), x[order]) for k, x in enumerate((a, b)))

    def test_are_not_modified_by_a_model_that_works_in_place(self):
        model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)).eval()
        x = normal(32, 5)
        before = x.clone()
        for inputs in (x, [x], (x,)):
            subject = Subject(model, inputs, batch_size=32)
            for block in blocks_of(subject, early=False):
                kept = block.inputs[0].clone()
                with subject.lent():
                    prepared = PixelFlipping(steps=3).prepare(lab_of(subject), block)
                    PixelFlipping(steps=3).score(prepared, block.inputs[0].clone())
                assert torch.equal(block.inputs[0], kept)
        assert torch.equal(x, before)

    def test_of_a_one_shot_iterator_can_be_read_again(self):
        subject = Subject(linear(), (part for part in normal(40, 5).split(9)))
        first, second = blocks_of(subject), blocks_of(subject, early=False)
        assert torch.equal(in_order(first)[0], in_order(second)[0])

    def test_of_a_generator_that_raises_are_not_taken_for_all(self):
        def batches():
            yield normal(20, 5)
            raise OSError("disk on fire")

        subject = Subject(linear(), batches())
        for _ in range(2):
            with pytest.raises(XaiError, match="OSError raised when the inputs were read: disk on fire"):
                blocks_of(subject)

    def test_of_a_shuffling_loader_are_the_same_at_every_pass(self):
        loader = DataLoader(TensorDataset(normal(40, 5), torch.arange(40) % 3), batch_size=9, shuffle=True)
        subject = Subject(linear(), loader)
        state = global_state()
        first, second = blocks_of(subject), blocks_of(subject)
        assert same_state(state, global_state())
        assert torch.equal(first[1].inputs[0], second[1].inputs[0])
        assert not torch.equal(in_order(first)[0], normal(40, 5))

    def test_of_a_loader_with_a_generator_of_its_own_are_refused_where_it_is_read_again(self, monkeypatch):
        """It is where not all is held; what is held stays what it was."""

        def subject():
            own = torch.Generator().manual_seed(1)
            return Subject(linear(), DataLoader(normal(140, 5), batch_size=9, shuffle=True, generator=own))

        held = subject()
        assert torch.equal(in_order(blocks_of(held))[0], in_order(blocks_of(held))[0])
        monkeypatch.setattr(window, "HELD_INPUTS", 64)
        with pytest.raises(XaiError, match="gave other inputs when it was read again"):
            blocks_of(subject())

    @pytest.mark.parametrize(
        ("inputs", "found"),
        [
            (torch.zeros(0, 5), "an empty tensor (0, 5)"),
            (torch.tensor(1.0), "without a batch axis"),
            ([], "an iterable without a batch"),
            ([torch.zeros(0, 5)], "an iterable without a batch"),
            ((), "an iterable without a batch"),
            ((torch.zeros(3, 5), torch.zeros(4, 5)), "lengths 3, 4"),
            ([torch.zeros(3, 5), torch.full((3, 6), 0.5)], "(3, 5) and then (3, 6)"),
            ([(torch.zeros(3, 5), torch.zeros(2, 5))], "lengths 2, 3"),
            ([[torch.zeros(3, 5), torch.zeros(2).long()]], "lengths 2, 3"),
            ([{"x": 1}], "an entry 'x' of type int"),
            ([(torch.zeros(3, 5), "label")], "a batch of type tuple with Tensor, str"),
            ([torch.tensor(1.0)], "a batch of type Tensor"),
            ({"x": torch.zeros(3, 5)}, "'x'"),
            ("cats.png", "an object of type str"),
            (None, "an object of type NoneType"),
            (TensorDataset(torch.zeros(3, 5)), "an object of type TensorDataset"),
            (np.array([object()]), "an array of object"),
            (torch.full((20, 5), torch.nan), "100 values that are NaN or infinite"),
            ([torch.full((20, 5), -torch.inf)], "80 values that are NaN or infinite"),
        ],
    )
    def test_that_are_wrong_are_named(self, inputs, found):
        error = raised(linear(), inputs)
        assert error.where == "xai_inputs"
        assert found in error.found

    def test_of_a_wrong_shape_show_what_the_model_said(self):
        error = raised(linear(), normal(20, 7))
        assert "RuntimeError when called with inputs (16, 7) torch.float32 on cpu" in error.found
        assert isinstance(error.__cause__, RuntimeError)

    def test_in_a_tuple_with_their_labels_get_told_where_labels_go(self):
        for inputs in ((normal(20, 5), torch.zeros(20).long()), [(normal(20, 5), torch.zeros(20).long())]):
            assert "list" in raised(linear(), inputs).fix


class TestTargets:
    @pytest.mark.parametrize(
        "make", [lambda t: t, lambda t: t.int(), lambda t: t.numpy(), lambda t: t.tolist(), lambda t: t[:, None]]
    )
    def test_go_with_their_inputs(self, make):
        given = torch.arange(40) % 3
        for inputs in (normal(40, 5), list(normal(40, 5).split(7))):
            targets = in_order(blocks_of(Subject(linear(), inputs, make(given))))[1]
            assert torch.equal(targets, given)

    def test_of_a_loader_are_taken(self):
        given = torch.arange(40) % 3
        loader = DataLoader(TensorDataset(normal(40, 5), given), batch_size=9)
        assert torch.equal(in_order(blocks_of(Subject(linear(), loader)))[1], given)

    def test_given_apart_win_over_those_of_a_loader(self):
        loader = DataLoader(TensorDataset(normal(40, 5), torch.arange(40) % 3), batch_size=9)
        targets = in_order(blocks_of(Subject(linear(), loader, torch.ones(40).long())))[1]
        assert torch.equal(targets, torch.ones(40).long())

    @pytest.mark.parametrize("targets", [None, torch.zeros(20).long()])
    @pytest.mark.parametrize("squeeze", [False, True])
    def test_are_none_for_a_single_output(self, targets, squeeze):
        model = linear(classes=1)
        called = (lambda x: model(x)[:, 0]) if squeeze else model
        block = blocks_of(Subject(called, normal(20, 5), targets))[0]
        assert block.targets is None

    def test_may_be_positions_in_outputs_of_more_axes(self):
        model = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3))).eval()
        positions = torch.stack([torch.arange(20) % 2, torch.arange(20) % 3], 1)
        subject = Subject(model, normal(20, 5), positions)
        block = blocks_of(subject)[0]
        with subject.lent():
            selected = select(subject.outputs(block.inputs), block.targets)
        expected = [model(x[None])[0, i, j].item() for x, (i, j) in zip(block.inputs[0], block.targets, strict=True)]
        assert selected.tolist() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("targets", "found"),
        [
            (torch.zeros(19).long(), "19 targets for 20 inputs"),
            (torch.full((20,), 3), "target 3 for outputs of shape (N, 3)"),
            (torch.full((20,), -1), "target -1 for outputs of shape (N, 3)"),
            (torch.zeros(20), "a tensor of torch.float32 and shape (20,)"),
            (torch.full((20, 3), 2), "targets of shape (16, 3) for outputs of shape (N, 3)"),
            (torch.zeros(20, 3).long(), "no label for 16 of 16 inputs"),
            (torch.eye(3)[torch.arange(20) % 3].fill_(0.5), "a tensor of torch.float32 and shape (20, 3)"),
            (torch.ones(20, 2), "multi-hot targets of 2 labels for outputs of shape (N, 3)"),
            (np.ma.masked_array(np.zeros(20, int), mask=[True] + [False] * 19), "a masked array with 1 masked value"),
            (torch.zeros(20, 3).to_sparse(), "a sparse tensor of layout torch.sparse_coo"),
            (torch.zeros(20, 3, 3).long(), "a tensor of torch.int64 and shape (20, 3, 3)"),
            (3, "a tensor of torch.int64 and shape ()"),
            ("cat", "an object of type str"),
            ([["cat"]], "an object of type list"),
        ],
    )
    def test_that_are_wrong_are_named(self, targets, found):
        error = raised(linear(), normal(20, 5), targets)
        assert error.where == "xai_targets"
        assert found in error.found

    @pytest.mark.parametrize("count", [30, 50])
    def test_of_a_stream_must_be_as_many_as_its_inputs(self, count):
        error = raised(linear(), list(normal(40, 5).split(7)), torch.zeros(count).long())
        assert (error.where, f"{count} targets" in error.found) == ("xai_targets", True)

    def test_are_refused_for_a_single_output(self):
        for inputs, targets in (
            (normal(20, 5), torch.ones(20).long()),
            ([[normal(20, 5), torch.ones(20).long()]], None),
        ):
            assert "a model with a single output" in raised(linear(classes=1), inputs, targets).found

    def test_are_needed_when_outputs_have_more_axes(self):
        model = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3))).eval()
        assert "no targets for outputs of shape (16, 2, 3)" in raised(model, normal(20, 5)).found

    @pytest.mark.parametrize("positions", [[0, 3], [2, 0], [-1, 0]])
    def test_must_be_positions_that_exist(self, positions):
        model = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3))).eval()
        error = raised(model, normal(20, 5), torch.tensor([positions] * 20))
        assert f"target {tuple(positions)} for outputs of shape (N, 2, 3)" in error.found


class TestModel:
    @pytest.mark.parametrize(
        ("model", "found"),
        [
            (3, "an object of type int"),
            (nn.Linear, "the class Linear"),
            (nn.Sequential(nn.LazyLinear(3)), "lazy parameters"),
            (lambda x: {"a": x, "b": x}, "a dict with the fields a, b as output"),
            (lambda x: ("x", "y"), "a tuple as output"),
            (lambda x: x.sum(), "a tensor () of torch.float32 as output"),
            (lambda x: x[:1], "a tensor (1, 5) of torch.float32 as output for 16 inputs"),
            (lambda x: x.argmax(1), "a tensor (16,) of torch.int64 as output"),
            (lambda x: x[:, :0], "a tensor (16, 0) of torch.float32 as output"),
            (lambda x: x / 0, "NaN or infinite"),
            (lambda x: 1 / 0, "ZeroDivisionError when called"),
            (lambda x: x + torch.randn_like(x), "other answers to the same inputs"),
            (nn.Sequential(nn.Linear(4, 3)), "RuntimeError when called with inputs (16, 5)"),
        ],
    )
    def test_that_is_wrong_is_named(self, model, found):
        error = raised(model, normal(20, 5))
        assert error.where == "xai_model"
        assert found in error.found

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_in_any_precision_is_reproducible_enough(self, dtype):
        model = nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 10)).eval().to(dtype)
        for called in (model, nn.Sequential(model, Cast())):
            assert len(blocks_of(Subject(called, normal(40, 300)), early=False)) == 1

    @pytest.mark.parametrize("batch_size", [1, 5, 64])
    def test_that_changes_the_shape_of_its_outputs_is_named(self, batch_size):
        calls = itertools.count()

        def changing(x):
            return x[:, : 3 if next(calls) < 3 else 4]

        error = raised(changing, normal(64, 5), batch_size=batch_size)
        assert error.where == "xai_model"
        assert "outputs of shape (N, " in error.found
        assert all(shape in error.found for shape in ("(N, 3)", "(N, 4)"))

    def test_may_change_the_shape_of_its_outputs_with_its_weights(self):
        class Growing(nn.Module):
            def __init__(self):
                super().__init__()
                self.classes = 3

            def forward(self, x):
                return x[:, : self.classes]

        model = Growing().eval()
        subject = Subject(model, normal(20, 5))
        subject.renew()
        blocks_of(subject)
        model.classes = 5
        subject.renew()
        assert int(blocks_of(subject)[0].targets.max()) == 4

    def test_with_other_weights_predicts_anew(self):
        model = linear()
        subject = Subject(model, normal(40, 5))
        first = subject.renew()
        before = in_order(blocks_of(subject))[1]
        assert subject.renew() == first
        with torch.no_grad():
            model[2].weight.neg_()
            model[2].bias.neg_()
        assert subject.renew() != first
        assert not torch.equal(before, in_order(blocks_of(subject))[1])


class Cast(nn.Module):
    def forward(self, x):
        return x.float()


class TestDevice:
    @pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
    @pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "", None, 1.5])
    def test_that_is_not_there_is_one_clear_error(self, device):
        with pytest.raises(XaiError) as caught:
            Subject(linear(), normal(20, 5), device=device)
        assert caught.value.where == "--xai-device"
        assert str(device) in caught.value.found
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("size", [0, -1, 1.5, True, "8"])
    def test_batch_size_must_be_a_positive_number(self, size):
        with pytest.raises(XaiError, match="batch_size"):
            Subject(linear(), normal(20, 5), batch_size=size)


class Rich(nn.Module):
    """Modes, hooks, buffers and gradients of every kind, to be found again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.head(self.drop(self.norm(self.conv(x))).mean((2, 3)))


def rich():
    torch.manual_seed(0)
    model = Rich()
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model(normal(4, 1, 6, 6)).sum().backward()
    model.conv.register_forward_hook(lambda *_: None)
    return model


HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
FULL = "_is_full_backward_hook"


def photograph(model):
    """Everything that must be found again."""
    parameters = dict(model.named_parameters())
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [({name: dict(vars(m)[name]) for name in HOOKS}, vars(m)[FULL]) for m in model.modules()],
        "requires_grad": {name: p.requires_grad for name, p in parameters.items()},
        "gradient objects": {name: id(p.grad) for name, p in parameters.items()},
        "gradients": {name: None if p.grad is None else p.grad.tolist() for name, p in parameters.items()},
        "buffer objects": {name: id(b) for name, b in model.named_buffers()},
        "buffers": {name: b.tolist() for name, b in model.named_buffers()},
        "weights": {name: p.tolist() for name, p in parameters.items()},
    }


def damage(model):
    model.train()
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
        module.register_full_backward_hook(lambda *_: None)
    model.conv._forward_hooks.popitem(last=False)
    model(normal(4, 1, 6, 6).requires_grad_()).sum().backward()
    model.conv.weight.grad = None
    model.norm.running_mean = torch.ones(4)
    for parameter in model.parameters():
        parameter.requires_grad_(not parameter.requires_grad)
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)


class TestGuarded:
    @pytest.mark.filterwarnings("ignore:xai_model was in training mode")
    @pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
    def test_gives_the_model_back_as_it_was(self, ending):
        model = rich()
        before, state = photograph(model), global_state()

        def use():
            with Subject(model, normal(20, 1, 6, 6)).lent():
                damage(model)
                if ending is not None:
                    raise ending

        with pytest.raises(ending or XaiError, match=None if ending else "norm.running_mean replaced"):
            use()
        assert photograph(model) == before
        assert same_state(state, global_state())

    def test_measures_in_evaluation_mode_and_says_so_once(self):
        subject = Subject(rich(), normal(20, 1, 6, 6))
        with pytest.warns(XaiWarning, match="training mode"), subject.lent():
            assert not any(module.training for module in subject.model.modules())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            blocks_of(subject)

    def test_says_nothing_of_a_model_in_evaluation_mode(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            blocks_of(Subject(rich().eval(), normal(20, 1, 6, 6)))

    def test_leaves_the_global_generators_alone_even_when_the_model_draws(self):
        class Draws(nn.Module):
            def forward(self, x):
                torch.rand(1), np.random.rand(), random.random()
                return x

        state = global_state()
        for model in (Draws(), Draws().forward):
            blocks_of(Subject(model, normal(40, 5)))
        assert same_state(state, global_state())

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_allows_gradients_whatever_the_mode_of_the_caller(self, mode):
        model = linear()
        with mode():
            x = normal(20, 5) * 1
            for inputs in (x, [x]):
                subject = Subject(model, inputs)
                with subject.lent():
                    for block in subject.blocks():
                        with torch.enable_grad():
                            leaf = block.inputs[0].clone().requires_grad_()
                            assert torch.autograd.grad(subject.model(leaf).sum(), leaf)[0].shape == leaf.shape
            assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)


class TestMicroBatches:
    errors = pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
            RuntimeError("MPS backend out of memory"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            MemoryError(),
        ],
        ids=["cuda", "cpu", "mps", "cublas", "python"],
    )

    @pytest.mark.parametrize("count", range(2, 20))
    @pytest.mark.parametrize("size", [3, 4, 16])
    def test_leave_no_input_alone(self, size, count):
        slices = []

        def work(part):
            slices.append(part.stop - part.start)
            return torch.arange(part.start, part.stop)

        assert MicroBatches(size, torch.device("cpu")).run(count, work).tolist() == list(range(count))
        assert max(slices) <= size
        assert min(slices) > 1

    @errors
    @pytest.mark.parametrize("limit", [1, 3, 16, 40])
    def test_are_halved_when_memory_runs_out(self, error, limit):
        x, tried = normal(40, 5), []

        def work(part):
            tried.append(len(x[part]))
            if tried[-1] > limit:
                raise error
            return x[part] * 2

        assert torch.equal(MicroBatches(64, torch.device("cpu")).run(40, work), x * 2)
        assert len(tried) == len(set(tried[: tried.index(min(tried))])) + len(tried[tried.index(min(tried)) :])

    @errors
    def test_say_so_when_a_single_input_is_too_much(self, error):
        def work(part):
            raise error

        with pytest.raises(XaiError, match=r"somewhere: found no memory left for a single input .* do this") as caught:
            MicroBatches(64, torch.device("cpu")).run(40, work, where="somewhere", fix="do this")
        assert caught.value.__cause__ is error

    @errors
    @pytest.mark.parametrize("outer", [64, 10, 4])
    def test_inside_others_are_halved_by_themselves(self, error, outer):
        """Memory runs out once, on the inside; the work outside is neither begun again nor cut otherwise."""
        x, begun, failed = normal(40, 5), [], []
        batches = MicroBatches(64, torch.device("cpu"))

        def inner(part):
            if not failed:
                failed.append(part)
                raise error
            return part * 2

        def work(part):
            begun.append(part)
            return batches.run(len(x[part]), lambda rows: inner(x[part][rows]))

        outside = batches if outer == 64 else batches.of(outer)
        assert torch.equal(outside.run(40, work), x * 2)
        assert [one.start for one in begun] == list(range(0, 40, outer))
        assert batches.size == min(40, outer) // 2

    def test_batches_of_another_size_remember_what_memory_has_run_out_for(self):
        batches, sizes = MicroBatches(64, torch.device("cpu")), []

        def work(part):
            sizes.append(part.stop - part.start)
            if sizes[-1] > 4:
                raise torch.OutOfMemoryError("too much")
            return torch.arange(part.start, part.stop)

        for _ in range(3):
            assert batches.of(16).run(16, work).tolist() == list(range(16))
        assert [size for size in sizes if size > 4] == [16, 8]
        assert batches.size == 64

    def test_inside_others_say_so_once_when_a_single_input_is_too_much(self):
        batches, begun = MicroBatches(64, torch.device("cpu")), []

        def nothing_fits(part):
            raise torch.OutOfMemoryError("CUDA out of memory")

        def work(part):
            begun.append(part)
            return batches.run(part.stop - part.start, nothing_fits, where="the inside")

        with pytest.raises(XaiError, match="the inside: found no memory left"):
            batches.run(40, work)
        assert len(begun) == 1

    def test_do_not_swallow_other_errors(self):
        def work(part):
            raise RuntimeError("shape mismatch")

        with pytest.raises(RuntimeError, match="shape mismatch"):
            MicroBatches(64, torch.device("cpu")).run(40, work)
        assert not out_of_memory(RuntimeError("shape mismatch"))

    @errors
    def test_make_a_model_that_runs_out_of_memory_answer_alike(self, error):
        model = linear()

        def small(x):
            if len(x) > 5:
                raise error
            return model(x)

        x = normal(40, 5)
        for inputs in (x, [x]):
            expected, got = blocks_of(Subject(model, inputs)), blocks_of(Subject(small, inputs))
            assert [block.indices for block in expected] == [block.indices for block in got]
            assert all(torch.equal(a.targets, b.targets) for a, b in zip(expected, got, strict=True))


def test_a_loader_of_two_floating_inputs_has_no_labels():
    """Only integers can be labels, and the last part alone."""

    class Two(nn.Module):
        def forward(self, a, b):
            return torch.cat([a, b], 1)[:, :3]

    a, b, labels = torch.randn(8, 2), torch.randn(8, 4), torch.ones(8, dtype=torch.long)
    for parts, targets in (((a, b), None), ((a, b, labels), [1] * 8)):
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*parts), batch_size=4)
        subject = Subject(Two(), loader, device="cpu")
        with subject.lent():
            block = next(subject.blocks())
        assert [tuple(tensor.shape) for tensor in block.inputs] == [(8, 2), (8, 4)]
        assert targets is None or block.targets.tolist() == targets
