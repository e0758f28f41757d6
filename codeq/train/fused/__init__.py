"""Many runs of one shape trained at once, in one process, as one stack of tensors.

The runs stay what `codeq.train.loop.build` made of them: before an epoch their parameters are stacked, after it each
gets its own back. So they come and go between epochs, and are saved and continued like any other run.
"""

from codeq.train.fused.epoch import train_together
from codeq.train.fused.shape import fusion_key

__all__ = ["fusion_key", "train_together"]
