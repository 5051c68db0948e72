"""Torch objects in, numbers out: task-gradient Gramians, GSNR, embeddings, predictions.

On several processes every process measures its own samples, and what is merged equals what one process would have
measured on all of them. Save as measure.py and run ``torchrun --nproc-per-node 2 measure.py``:

```python
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

from workbench.diagnostics import gramian, gsnr

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)  # the same model and data everywhere; each rank takes its share of the samples
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
x, y = torch.randn(64, 4), torch.randint(3, (64,))
mine = slice(rank, None, world)

moments = gsnr.measure(model, lambda x, y: cross_entropy(model(x), y, reduction="none"), [(x[mine], y[mine])])
moments = gsnr.merge_across_ranks(moments)

losses = {"digit": cross_entropy(model(x[mine]), y[mine], reduction="none")}
products = gramian.measure(losses, model, n_batches=4, group=dist.group.WORLD)
if rank == 0:
    print(f"{moments.count['']} samples, {products.samples.sum()} in the Gramian")
dist.destroy_process_group()
```
"""
