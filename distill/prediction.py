"""The prediction phase of the task stage: a student and a classifier on its embedding learn the classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill import logistic_regression
from earkit.distill.distilled import DistilledStudent, Outputs
from earkit.distill.losses.tinybert import soft_cross_entropy
from earkit.distill.student import Student
from earkit.distill.task_teacher import Graded, TaskLesson


class Prediction(nn.Module):
    """A student and a classifier on its embedding, with the loss of the prediction phase.

    TinyBERT's is soft cross entropy alone (eq. 10, temperature 1): its teacher was fine-tuned on thousands
    of sentences and labels sentences that augmentation made up, for which there is no other label. Here a
    view keeps the label of its clip, and the teacher has learnt from ten clips of a class itself; so

        L = soft_weight T^2 soft cross entropy(student, teacher; T) + hard_weight cross entropy(student, y)

    where soft_weight falls to 0 over the phase, so that a student may surpass its teacher (teacher annealing,
    Clark et al. 2019), and for TinyBERT's hard_weight is 0 and soft_weight 1 throughout.

    The classifier sees the embedding standardised, which is folded into its weights at the end. It learns
    from every trained width alike, with the same weights (MRL-E of Kusupati et al. 2022), so that the
    embedding may still be cut afterwards.
    """

    def __init__(
        self, student: Student, classes: int, dims: tuple[int, ...], temperature: float, hard_weight: float
    ) -> None:
        super().__init__()
        self.student, self.dims = student, dims
        self.temperature, self.hard_weight = temperature, hard_weight
        width = student.config.embedding_dim
        self.classifier = nn.Linear(width, classes)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    mean: Tensor
    deviation: Tensor

    def embed(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """(batch, samples), (batch,) -> (batch, embedding dim), standardised."""
        return (self._pool(audio, lengths) - self.mean) / self.deviation

    def _pool(self, audio: Tensor, lengths: Tensor) -> Tensor:
        trace = self.student(audio, lengths)
        return self.student.pool(trace.hidden[-1], trace.valid)

    def logits(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """(batch, samples), (batch,) -> (batch, classes)."""
        logits: Tensor = self.classifier(self.embed(audio, lengths))
        return logits

    def forward(self, lesson: TaskLesson) -> Graded:
        """Learn from soft labels, where there are any, and from the labels."""
        embedding = self.embed(lesson.audio, lesson.lengths)
        by_width = self._by_width(embedding)
        loss = torch.stack([self._loss(logits, lesson) for logits in by_width]).mean()
        right = (by_width[-1].argmax(1) == lesson.labels).sum()
        return Graded(loss * len(embedding), right, len(embedding))

    def _by_width(self, embedding: Tensor) -> list[Tensor]:
        """Give the logits from each prefix of the embedding."""
        weight, bias = self.classifier.weight, self.classifier.bias
        return [F.linear(embedding[:, :d], weight[:, :d], bias).float() for d in self.dims]

    def _loss(self, logits: Tensor, lesson: TaskLesson) -> Tensor:
        hard = F.cross_entropy(logits, lesson.labels)
        if lesson.soft is None:
            return hard
        soft = soft_cross_entropy(logits, lesson.soft, self.temperature)
        return lesson.soft_weight * self.temperature**2 * soft + self.hard_weight * hard

    @torch.no_grad()
    def calibrate(self, clips: Sequence[TaskLesson]) -> Tensor:
        """Measure the embedding of some clips; returns it, standardised, (clips, embedding dim)."""
        embeddings = torch.cat([self._pool(clip.audio, clip.lengths) for clip in clips])
        self.mean.copy_(embeddings.mean(0))
        spread = embeddings.std(0)
        self.deviation.copy_(spread.clamp(min=1e-3 * float(spread.max())))
        return (embeddings - self.mean) / self.deviation

    def probe(self, clips: Sequence[TaskLesson]) -> None:
        """Let the classifier begin as a logistic regression on the student as it is.

        A classifier with random weights would first pull the student about (Kumar et al. 2022). Minimises
        the mean cross entropy + |W|^2 / 2n over the n clips, for every width alike.
        """
        embedding, labels = self.calibrate(clips), torch.cat([clip.labels for clip in clips])

        def error() -> Tensor:
            return torch.stack([F.cross_entropy(x, labels) for x in self._by_width(embedding)]).mean()

        logistic_regression.fit(self.classifier, error, 1 / len(labels))

    @torch.no_grad()
    def classifying(self, classes: tuple[str, ...]) -> DistilledStudent:
        """Put together what is kept: heads for tokens and sparse codes no longer fit the student."""
        model = DistilledStudent(self.student.config, Outputs(dims=self.dims, classes=classes))
        assert model.classifier is not None
        model.student.load_state_dict(self.student.state_dict())
        weight = self.classifier.weight / self.deviation
        model.classifier.weight.copy_(weight)
        model.classifier.bias.copy_(self.classifier.bias - weight @ self.mean)
        return model.eval()
