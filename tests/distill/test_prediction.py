"""The prediction phase: its loss by hand, and what is kept of its classifier."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from earkit.distill.prediction import Prediction
from earkit.distill.student import Student, StudentConfig
from earkit.distill.task_teacher import TaskLesson

LENGTHS = torch.tensor([6400, 3000, 1600])
LABELS = torch.tensor([2, 0, 1])


def prediction(temperature: float = 2.0, hard_weight: float = 0.5) -> tuple[Prediction, torch.Tensor]:
    torch.manual_seed(0)
    student = Student(StudentConfig(size="custom", dim=32, depth=1, embedding_dim=8))
    audio = torch.randn(3, 6400) * 0.1 * (torch.arange(6400) < LENGTHS[:, None])
    model = Prediction(student, 3, (4, 8), temperature, hard_weight)
    model.calibrate([TaskLesson(audio, LENGTHS, LABELS)])
    return model, audio


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


@torch.no_grad()
@pytest.mark.parametrize(("soft", "left"), [(True, 1.0), (True, 0.25), (False, 1.0)])
def test_loss_is_that_of_the_docstring(soft: bool, left: float) -> None:
    model, audio = prediction()
    theirs = torch.randn(3, 3) * 3
    graded = model(TaskLesson(audio, LENGTHS, LABELS, theirs if soft else None, left))
    trace = model.student(audio, LENGTHS)
    raw = model.student.pool(trace.hidden[-1], trace.valid).numpy().astype(np.float64)
    x = (raw - raw.mean(0)) / raw.std(0, ddof=1)
    weight, bias = model.classifier.weight.numpy(), model.classifier.bias.numpy()
    by_width = []
    for d in (4, 8):
        logits = x[:, :d] @ weight[:, :d].T + bias
        hard = -log_softmax(logits)[range(3), LABELS.numpy()].mean()
        wanted = np.exp(log_softmax(theirs.numpy() / 2))
        softened = -(wanted * log_softmax(logits / 2)).sum(1).mean()
        by_width.append(left * 4 * softened + 0.5 * hard if soft else hard)
    assert float(graded.loss_sum) == pytest.approx(3 * np.mean(by_width), rel=1e-4)
    assert int(graded.right) == (logits.argmax(1) == LABELS.numpy()).sum()


def test_the_classifier_begins_as_a_logistic_regression() -> None:
    """With the full width alone it is scikit-learn's, of C = 1."""
    model, audio = prediction()
    model.dims = (8,)
    before = {name: x.clone() for name, x in model.student.state_dict().items()}
    model.probe([TaskLesson(audio, LENGTHS, LABELS), TaskLesson(audio.flip(0), LENGTHS.flip(0), LABELS)])
    with torch.no_grad():
        x = model.embed(torch.cat([audio, audio.flip(0)]), torch.cat([LENGTHS, LENGTHS.flip(0)])).numpy()
        ours = model.classifier(torch.from_numpy(x)).softmax(1).numpy()
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(x, LABELS.repeat(2).numpy())
    np.testing.assert_allclose(ours, reference.predict_proba(x), atol=2e-3)
    assert all(torch.equal(x, before[name]) for name, x in model.student.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@torch.no_grad()
def test_standardisation_is_folded_into_what_is_kept() -> None:
    model, audio = prediction()
    kept = model.classifying(("a", "b", "c"))
    assert kept.classifier is not None
    assert kept.outputs.dims == (4, 8)
    trace = kept.student(audio, LENGTHS)
    logits = kept.classifier(kept.student.pool(trace.hidden[-1], trace.valid))
    torch.testing.assert_close(logits, model.logits(audio, LENGTHS), rtol=1e-4, atol=1e-5)
