"""Times the training of a perceptron in PyTorch, for `ringbench versus-torch`.

The weights, the batch and the algorithm are those of bench/perceptron.go, so that
the loss after the same steps says whether both have done the same work. With
--world 2 or more it is DistributedDataParallel over gloo, one process each, and
rank 0 prints. The result is one line of JSON.
"""
import argparse
import json
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F


def noise(n, seed):
    """n numbers from -0.5 to 0.5, the same on every machine."""
    i = torch.arange(n, dtype=torch.int64)
    x = (i * 2654435761 + seed * 40503 + 12345) % 2**32
    x = (x * 69069 + 1) % 2**32
    return (x.double() / 2**32 - 0.5).float()


def build(widths):
    layers = []
    for i, (n_in, n_out) in enumerate(zip(widths, widths[1:])):
        layer = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            # ours is in×out
            w = noise(n_in * n_out, i + 1).view(n_in, n_out) * (24 / n_in) ** 0.5
            layer.weight.copy_(w.t())
            layer.bias.zero_()
        layers.append(layer)
        if i + 2 < len(widths):
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--widths", required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--warmup", type=int, required=True)
    p.add_argument("--rate", type=float, required=True)
    p.add_argument("--rank", type=int, default=0)
    p.add_argument("--world", type=int, default=1)
    p.add_argument("--store", default="")
    a = p.parse_args()

    torch.set_num_threads(1)
    widths = [int(w) for w in a.widths.split(",")]
    model = build(widths)
    if a.world > 1:
        dist.init_process_group("gloo", init_method="file://" + a.store, rank=a.rank, world_size=a.world)
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=a.rate)
    x = noise(a.batch * widths[0], 100 + a.rank).view(a.batch, widths[0])
    y = (torch.arange(a.batch) * 7 + a.rank) % widths[-1]

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(a.warmup):
        loss = step()
    mean = loss.detach().clone()
    # All ranks do the same number of steps, as many as rank 0 thinks it has time for.
    began = time.perf_counter()
    for _ in range(5):
        step()
    steps = torch.tensor([max(10, int(5 * a.seconds / (time.perf_counter() - began)))])
    if a.world > 1:
        dist.all_reduce(mean)
        mean /= a.world
        dist.broadcast(steps, 0)
    times = []
    began = last = time.perf_counter()
    for _ in range(int(steps)):
        step()
        now = time.perf_counter()
        times.append(now - last)
        last = now
    times.sort()
    if a.rank == 0:
        print(json.dumps({
            "peer": "torch",
            "np": a.world,
            "median_ms": 1e3 * times[len(times) // 2],
            "samples_per_s": len(times) * a.batch * a.world / (last - began),
            "loss": float(mean),
            "steps": len(times),
        }))
    if a.world > 1:
        dist.barrier()
        dist.destroy_process_group()


main()
