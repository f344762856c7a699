r"""A linear CNN teaches a ReLU CNN: when the student beats the teacher.

Junsoo Oh, Jerry Song, Chulhee Yun: *From Linear to Nonlinear: Provable Weak-to-Strong Generalization through Feature
Learning*, NeurIPS 2025, arXiv 2510.24812.

Samples carry *easy* signals, which a linear model can use, *hard* signals, whose sign is random, so that no linear model
can, or both. A linear teacher is trained on true labels and labels fresh samples; a two-layer ReLU network is trained on
those labels by gradient descent. It learns the hard signals from the samples that carry both, and may then correct its
teacher; if it is trained for too long, it takes the teacher's errors over.

.. math::
    f_{wk}(X) = \sum_p \langle w, x^{(p)} \rangle, \qquad
    f_{st}(X) = \frac1m \sum_{s = \pm 1} s \sum_{r \le m} \sum_p \max(0, \langle w_{s,r}, x^{(p)} \rangle), \\
    \hat y_i = \operatorname{sign} f_{wk}(X_i), \qquad
    W \leftarrow W - \eta \nabla \frac1n \sum_i \log(1 + e^{-\hat y_i f_{st}(X_i)})

===========================  ================================================
paper                        here
===========================  ================================================
:math:`\|\mu\|, \|\nu\|`     `signal_easy`, `signal_hard`
:math:`\sigma_p`             `noise`
:math:`p_e, p_h, p_b`        `probabilities` = (easy, hard, both)
:math:`n_{wk}, n_{st}`       `num_samples` of the two `PatchData`
:math:`m`, :math:`\sigma_0`  `num_filters`, `init_scale`
:math:`w`                    `LinearCNN.weight`
:math:`w_{s,r}`              `ReluCNN.weights[..., 0 or 1, r, :]`
:math:`\hat y`               `pseudo_label`
:math:`T_{es}`               the step at which `History.corrected` is largest
===========================  ================================================

`patches` holds the data, `models` the two networks, `training` the fast exact trainers (their three forms are in
`engines`, what they log in `history`), `losses` what a student may be asked to fit, and `protocol` the same protocol for
your own models.

The public sources leave two conventions open: the patches of a hard-only sample, and the factor 1/m. Both readings are
behind an argument (`hard_patches`, `average`).
"""

from descentlab.weak_to_strong.history import History
from descentlab.weak_to_strong.losses import CrossEntropy, LogConf, SmallLoss
from descentlab.weak_to_strong.models import LinearCNN, ReluCNN, ideal_student, outputs
from descentlab.weak_to_strong.patches import KINDS, PatchData, ideal_pseudo_labels
from descentlab.weak_to_strong.protocol import Accuracy, Report, evaluate, pseudo_label, weak_to_strong
from descentlab.weak_to_strong.training import train_strong, train_weak

__all__ = [
    "KINDS",
    "Accuracy",
    "CrossEntropy",
    "History",
    "LinearCNN",
    "LogConf",
    "PatchData",
    "ReluCNN",
    "Report",
    "SmallLoss",
    "evaluate",
    "ideal_pseudo_labels",
    "ideal_student",
    "outputs",
    "pseudo_label",
    "train_strong",
    "train_weak",
    "weak_to_strong",
]
