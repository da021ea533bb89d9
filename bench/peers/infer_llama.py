"""llama.cpp (llama-cpp-python) for bench/infer.py: answers one JSON command a line with the seconds that it took.

    {"do": "decode" | "prompt" | "batch" | "bandwidth", "threads": 1, "tokens": 128, "requests": 16, "model": "x.gguf"}"""
import ctypes
import json
import sys
import time

import llama_cpp
import numpy as np


def context(model, threads, requests, tokens):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = requests * tokens
    params.n_batch = params.n_ubatch = 512
    params.n_seq_max = requests
    params.n_threads = params.n_threads_batch = threads
    params.kv_unified = True
    return llama_cpp.llama_init_from_model(model, params)


def step(ctx, rows):
    """rows: (token, position, sequence, whether logits are wanted)"""
    batch = llama_cpp.llama_batch_init(len(rows), 0, 1)
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, logits) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, logits
        batch.seq_id[i][0] = sequence
    if llama_cpp.llama_decode(ctx, batch) != 0:
        raise RuntimeError("llama_decode failed")
    llama_cpp.llama_batch_free(batch)


def likeliest(ctx, row, vocabulary):
    logits = llama_cpp.llama_get_logits_ith(ctx, row)
    return int(np.argmax(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (vocabulary,))))


def run(model, vocabulary, do, threads, tokens, requests):
    if do == "bandwidth":
        data = np.ones(32 << 20, dtype=np.uint64)  # 256 MB
        begin = time.perf_counter()
        np.bitwise_or.reduce(data)
        return time.perf_counter() - begin
    ctx = context(model, threads, requests, tokens + 64)
    try:
        if do == "prompt":
            step(ctx, [(1000, 0, 0, True)])
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(ctx), True)
            begin = time.perf_counter()
            for at in range(0, tokens, 512):
                step(ctx, [(1000 + i % 1000, i, 0, i == tokens - 1) for i in range(at, min(tokens, at + 512))])
            likeliest(ctx, -1, vocabulary)
            return time.perf_counter() - begin
        step(ctx, [(1000 + i, i, s, i == 7) for s in range(requests) for i in range(8)])
        last = [1000 + s for s in range(requests)]
        begin = time.perf_counter()
        for position in range(8, 8 + tokens):
            step(ctx, [(last[s], position, s, True) for s in range(requests)])
            last = [likeliest(ctx, s, vocabulary) for s in range(requests)]
        return time.perf_counter() - begin
    finally:
        llama_cpp.llama_free(ctx)


def main():
    llama_cpp.llama_backend_init()
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    model, path = None, None
    for line in sys.stdin:
        command = json.loads(line)
        if command["model"] != path:
            path = command["model"]
            model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
            vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        seconds = run(model, vocabulary, command["do"], command["threads"], command["tokens"], command["requests"])
        print(json.dumps({"seconds": seconds, "version": llama_cpp.__version__}), flush=True)


main()
