from descentlab.per_sample_adam.limits import FixedPoint, adam_fixed_point, adam_limit
from descentlab.per_sample_adam.methods import adam, adam_proxy, gradient_descent, signum
from descentlab.per_sample_adam.experiments import *
