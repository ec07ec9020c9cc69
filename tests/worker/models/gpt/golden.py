#!/usr/bin/env python3
"""Writes golden.inc: a small GPT's loss and gradients by JAX in float64, for gpt_test.cc.

    pip install jax && tests/worker/models/gpt/golden.py > tests/worker/models/gpt/golden.inc

The model is written after the papers and nanoGPT, not after our code: two layers of width 12, three heads, context 5,
vocabulary 11 (padded to 64), tied output head. Weights are a formula of the element's index, so that both sides have
the same ones.
"""
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY, PADDED, BATCH = 2, 12, 3, 5, 11, 64, 3


def shapes():
    yield "wte.weight", (PADDED, WIDTH)
    yield "wpe.weight", (CONTEXT, WIDTH)
    for layer in range(LAYERS):
        for name, shape in (
            ("ln_1.weight", (WIDTH,)), ("ln_1.bias", (WIDTH,)),
            ("attn.c_attn.weight", (3 * WIDTH, WIDTH)), ("attn.c_attn.bias", (3 * WIDTH,)),
            ("attn.c_proj.weight", (WIDTH, WIDTH)), ("attn.c_proj.bias", (WIDTH,)),
            ("ln_2.weight", (WIDTH,)), ("ln_2.bias", (WIDTH,)),
            ("mlp.c_fc.weight", (4 * WIDTH, WIDTH)), ("mlp.c_fc.bias", (4 * WIDTH,)),
            ("mlp.c_proj.weight", (WIDTH, 4 * WIDTH)), ("mlp.c_proj.bias", (WIDTH,))):
            yield f"h.{layer}.{name}", shape
    yield "ln_f.weight", (WIDTH,)
    yield "ln_f.bias", (WIDTH,)


def weights():
    tensors, offset = {}, 0
    for name, shape in shapes():
        count = 1
        for size in shape:
            count *= size
        index = jnp.arange(offset, offset + count, dtype=jnp.uint64)
        unit = ((index * 2654435761) % 2**32).astype(jnp.float64) / 2**32
        # As a float32 on the other side.
        tensors[name] = (unit - 0.5).astype(jnp.float32).astype(jnp.float64).reshape(shape)
        offset += count
    return tensors


def layer_norm(x, gain, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5) * gain + bias


def logits(w, tokens):
    x = w["wte.weight"][tokens] + w["wpe.weight"]
    for layer in range(LAYERS):
        at = lambda name: w[f"h.{layer}.{name}"]
        h = layer_norm(x, at("ln_1.weight"), at("ln_1.bias"))
        qkv = h @ at("attn.c_attn.weight").T + at("attn.c_attn.bias")
        q, k, v = (part.reshape(BATCH, CONTEXT, HEADS, -1).transpose(0, 2, 1, 3) for part in jnp.split(qkv, 3, -1))
        scores = q @ k.transpose(0, 1, 3, 2) / jnp.sqrt(WIDTH // HEADS)
        scores = jnp.where(jnp.tril(jnp.ones((CONTEXT, CONTEXT), bool)), scores, -jnp.inf)
        y = (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(BATCH, CONTEXT, WIDTH)
        x = x + y @ at("attn.c_proj.weight").T + at("attn.c_proj.bias")
        h = layer_norm(x, at("ln_2.weight"), at("ln_2.bias"))
        h = jax.nn.gelu(h @ at("mlp.c_fc.weight").T + at("mlp.c_fc.bias"), approximate=True)
        x = x + h @ at("mlp.c_proj.weight").T + at("mlp.c_proj.bias")
    x = layer_norm(x, w["ln_f.weight"], w["ln_f.bias"])
    return (x @ w["wte.weight"].T)[:, :, :VOCABULARY]


def loss(w, tokens, labels):
    log_p = jax.nn.log_softmax(logits(w, tokens), -1)
    return -jnp.take_along_axis(log_p, labels[:, :, None], -1).mean()


def main():
    text = jnp.array([(7 * i * i + 3 * i) % VOCABULARY for i in range(BATCH * CONTEXT + 1)])
    tokens, labels = text[:-1].reshape(BATCH, CONTEXT), text[1:].reshape(BATCH, CONTEXT)
    w = weights()
    value, gradients = jax.value_and_grad(loss)(w, tokens, labels)
    correct = int((logits(w, tokens).argmax(-1) == labels).sum())
    print("// Written by golden.py.")
    print(f"constexpr double kMeanLoss = {float(value)!r};")
    print(f"constexpr std::int64_t kCorrect = {correct};")
    print("// Euclidean norm, first, middle and last element of each tensor's gradient.")
    print("const struct {\n  const char* name;\n  double norm, first, middle, last;\n} kGradients[] = {")
    for name, _ in shapes():
        flat = gradients[name].reshape(-1)
        numbers = (jnp.sqrt((flat**2).sum()), flat[0], flat[flat.size // 2], flat[-1])
        print(f'    {{"{name}", ' + ", ".join(repr(float(number)) for number in numbers) + "},")
    print("};")


if __name__ == "__main__":
    main()
