from descentlab.per_sample_adam.methods import adam, adam_proxy, gradient_descent, signum
