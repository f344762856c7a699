"""One training loop for the networks of the book, and for yours.

`fit` trains a network on data that are held on the device, with checkpoints from which a killed run continues bit for
bit; `Callback` looks on. `fit_language_model` trains one that
predicts tokens, `fit_many` trains many small networks at once, `sweep` spreads independent trainings over
processes or a cluster, and ``torchrun`` runs one training over several devices:

>>> from functools import partial
>>> import torch
>>> from descentlab import data, networks, training
>>> digits = data.load("digits")
>>> steps = training.count_steps(len(digits.inputs), batch_size=64, num_epochs=3)
>>> sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
>>> with networks.seeded(0):
...     model = networks.MLP(64)
>>> result = training.fit(
...     model, digits, optimizer=sgd, num_epochs=3, batch_size=64, schedule=training.cosine(steps), progress=False
... )
>>> result.test_accuracy > 0.9
True
"""

from descentlab.training.callbacks import Callback, Run
from descentlab.training.checkpoints import load_checkpoint, save_checkpoint
from descentlab.training.engine import Result, cross_entropy, evaluate, fit, predict
from descentlab.training.language import LanguageResult, fit_language_model, interpolate, placed, validation_loss
from descentlab.training.many import faster_method, fit_many
from descentlab.training.parallel import (
    choose_device,
    join_ranks,
    largest_over_ranks,
    rank,
    sum_over_ranks,
    sweep,
    wait_for_ranks,
    world_size,
)
from descentlab.training.schedules import cosine, count_steps

__all__ = [
    "Callback",
    "LanguageResult",
    "Result",
    "Run",
    "choose_device",
    "cosine",
    "count_steps",
    "cross_entropy",
    "evaluate",
    "faster_method",
    "fit",
    "fit_language_model",
    "fit_many",
    "interpolate",
    "join_ranks",
    "largest_over_ranks",
    "load_checkpoint",
    "placed",
    "predict",
    "rank",
    "save_checkpoint",
    "sum_over_ranks",
    "sweep",
    "validation_loss",
    "wait_for_ranks",
    "world_size",
]
