#!/usr/bin/env python3
"""torch_gpt.py [--compile [--may_fail]] [STEPS]: a step of GPT-2 small (124M, batch 32 x 1024) in PyTorch.

To compare with: bfloat16 autocast over float32 weights, scaled_dot_product_attention, tied output head with the
vocabulary padded to 50304, SGD, which is what Leeway's gpt:124m does. Prints the median time of a step. Needs torch and
a GPU.

--compile: with torch.compile, which needs a C compiler and Python's headers. With --may_fail it is no error where that
does not work; the reason is the result then.
"""

import os
import sys
import tempfile
import time

# Where torch.compile keeps what it makes: its own choice is below HOME, which may not be there. Read by imports.
SCRATCH = tempfile.TemporaryDirectory(prefix="torch-gpt-", ignore_cleanup_errors=True)
for variable, folder in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton"), ("TRITON_HOME", ".")):
    os.environ.setdefault(variable, os.path.join(SCRATCH.name, folder))

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY, BATCH = 12, 768, 12, 1024, 50304, 32


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (h.view(b, t, HEADS, WIDTH // HEADS).transpose(1, 2) for h in self.qkv(self.norm1(x)).split(WIDTH, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers, self.norm = nn.ModuleList(Layer() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), labels.view(-1))


def train_step(model, optimizer, tokens, labels):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(tokens, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return loss


def main(args):
    compile_it = "--compile" in args
    steps = max(5, int(([a for a in args if a.isdigit()] or ["16"])[0]))  # the first four are not timed
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Gpt().cuda()
    nn.init.normal_(model.wte.weight, std=0.02)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tokens = torch.randint(0, 50257, (BATCH, CONTEXT), device="cuda")
    labels = torch.randint(0, 50257, (BATCH, CONTEXT), device="cuda")
    step = model
    if compile_it:
        start = time.perf_counter()
        try:  # the first step compiles
            step = torch.compile(model)
            train_step(step, optimizer, tokens, labels)
        except Exception as error:
            print(error)
            # The first line of some says no more than that the next one was raised.
            reason = " ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2])
            print(f"result: torch.compile failed: {type(error).__name__}: {reason[:200]}")
            return 0 if "--may_fail" in args else 1
        print(f"compiling took {time.perf_counter() - start:.1f} s", flush=True)
    times = []
    for i in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        loss = train_step(step, optimizer, tokens, labels)
        if i >= 4:
            times.append(time.perf_counter() - start)
    print(f"loss {loss.item():.4f}, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    kind = "compiled" if compile_it else "eager"
    print(f"result: PyTorch {torch.__version__} {kind}, gpt 124M step {sorted(times)[len(times) // 2] * 1e3:.1f} ms")
    return 0


sys.exit(main(sys.argv[1:]))
