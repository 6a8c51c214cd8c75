"""A model that llama.cpp loads in a moment: random weights, a byte-level BPE tokenizer, a chat template with tools.

It talks nonsense, but counts like any other model. Two tokens have learned something: behind the prompt of a call with
tools stands ``TOOLS``, whose embedding points at the start of a tool call, and behind a tool call comes the end. So
llama.cpp's grammar for the tools does the rest, and there are real tool calls. The same Python writes the same file.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONTEXT = 8192
_VOCABULARY, _WIDTH, _LAYERS, _HEADS, _INNER = 2048, 64, 2, 4, 128
_UNKNOWN, _START, _END, _TURN, _TURN_END, _TOOLS, _CALL, _CALL_END = range(8)
_SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|tools|>", "<tool_call>", "</tool_call>")

# No part of a character: where the first token is one, llama.cpp leaves out a message stream's first event.
_ASCII = [sign for sign in pre_tokenizers.ByteLevel.alphabet() if sign.isascii()]

_Weights = NDArray[np.float32]

_TEMPLATE = r"""
{%- if tools %}
    {{- '<|im_start|>system\nTools:' }}
    {%- for tool in tools %}{{- '\n' + (tool | tojson) }}{%- endfor %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + (message.content or '') }}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>{"name": "' + call.function.name + '", "arguments": ' }}
        {{- call.function.arguments | tojson }}
        {{- '}</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' + ('<|tools|>' if tools else '') }}
{%- endif %}
"""


def write_tiny_model(path: Path) -> None:
    """Write the model as a GGUF file of 1.4 MB."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer)
    _add_vocabulary(writer)
    _add_weights(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_file_type(0)


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    tokens, merges = _train()
    kinds = [gguf.TokenType.CONTROL] * _CALL + [gguf.TokenType.USER_DEFINED] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (_VOCABULARY - len(kinds)))
    writer.add_bos_token_id(_START)
    writer.add_eos_token_id(_TURN_END)
    writer.add_unk_token_id(_UNKNOWN)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)


def _train() -> tuple[list[str], list[str]]:
    """The tokens in order and the merges, learned from a text that is wherever Python is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=_ASCII,
        show_progress=False,
    )
    tokenizer.train([argparse.__file__], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(trained["vocab"], key=trained["vocab"].__getitem__)
    assert len(tokens) == _VOCABULARY
    return tokens, [" ".join(merge) for merge in trained["merges"]]


def _add_weights(writer: gguf.GGUFWriter) -> None:
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> _Weights:
        return random.normal(0, 0.08, shape).astype(np.float32)

    embedding, output = drawn(_VOCABULARY, _WIDTH), drawn(_VOCABULARY, _WIDTH) * 3
    for before, after in ((_TOOLS, _CALL), (_CALL_END, _TURN_END)):
        direction = drawn(_WIDTH)
        direction /= np.linalg.norm(direction)
        embedding[before], output[after] = direction * 10, direction * 3
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}.{name}.weight", np.ones(_WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", drawn(_WIDTH, _WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{block}.{name}.weight", drawn(_INNER, _WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", drawn(_WIDTH, _INNER))
