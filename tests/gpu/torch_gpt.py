#!/usr/bin/env python3
"""torch_gpt.py [--compile] [STEPS]: a step of GPT-2 small (124M, batch 32 x 1024) in PyTorch, to compare with.

bfloat16 autocast over float32 weights, scaled_dot_product_attention, tied output head with the vocabulary padded to
50304, SGD: what Leeway's gpt:124m does. Prints the median time of a step. Needs torch and a GPU.
"""

import sys
import time

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


def main(args):
    compile_it = "--compile" in args
    steps = int(([a for a in args if a.isdigit()] or ["16"])[0])
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Gpt().cuda()
    nn.init.normal_(model.wte.weight, std=0.02)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    step = torch.compile(model) if compile_it else model
    tokens = torch.randint(0, 50257, (BATCH, CONTEXT), device="cuda")
    labels = torch.randint(0, 50257, (BATCH, CONTEXT), device="cuda")
    times = []
    for i in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = step(tokens, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        if i >= 4:
            times.append(time.perf_counter() - start)
    print(f"loss {loss.item():.4f}, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    kind = "compiled" if compile_it else "eager"
    print(f"result: PyTorch {torch.__version__} {kind}, gpt 124M step {sorted(times)[len(times) // 2] * 1e3:.1f} ms")


main(sys.argv[1:])
