"""npgcheck for torch modules: ``pip install "npgcheck[torch]"``.

:func:`check_step` judges one step of a ``torch.nn.Module``; :class:`StepMonitor` does so inside a
training loop, every n updates, and leaves no trace. Both only prepare the arguments of
:func:`npgcheck.check_step`, with :class:`Policy`.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("npgcheck.torch needs torch: pip install 'npgcheck[torch]'.") from error

from npgcheck.torch.monitor import Step, StepMonitor, StepRefuted, StepRefutedWarning
from npgcheck.torch.policy import Policy
from npgcheck.torch.products import fisher_vector_product, log_probs, mean_kl, policy_gradient
from npgcheck.torch.step import check_step

__all__ = [
    "Policy",
    "Step",
    "StepMonitor",
    "StepRefuted",
    "StepRefutedWarning",
    "check_step",
    "fisher_vector_product",
    "log_probs",
    "mean_kl",
    "policy_gradient",
]
