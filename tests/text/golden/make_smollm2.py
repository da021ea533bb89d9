"""Makes smollm2.json beside this file: what the package tokenizers makes of texts with the vocabulary of the test model (a GGUF file, the argument),
and what jinja2 makes of chats with its template. Needs both packages, once: the file is in the repository."""
import json
import struct
import sys

import make_chat_templates
import make_tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def metadata(path):
    with open(path, "rb") as file:
        def unpack(format):
            return struct.unpack(format, file.read(struct.calcsize(format)))

        def value(kind):
            if kind == 8:
                return file.read(unpack("<Q")[0]).decode()
            if kind == 9:
                inner, count = unpack("<IQ")
                return [value(inner) for _ in range(count)]
            return unpack(FORMATS[kind])[0]

        _, _, count = file.read(4), unpack("<IQ"), unpack("<Q")[0]
        return {value(8): value(unpack("<I")[0]) for _ in range(count)}


if __name__ == "__main__":
    found = metadata(sys.argv[1])
    tokens, kinds = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, [tuple(merge.split(" ")) for merge in found["tokenizer.ggml.merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([text for text, kind in zip(tokens, kinds) if kind == 3])
    tokenizer.encode_special_tokens = True
    plain = make_tokenizers.cases(lambda text: tokenizer.encode(text.decode(errors="replace")).ids)
    tokenizer.encode_special_tokens = False
    special = make_tokenizers.cases(lambda text: tokenizer.encode(text.decode(errors="replace")).ids)[:25]
    template = found["tokenizer.chat_template"]
    chats = [[messages, make_chat_templates.chat(template, messages, None, True, {})["text"]] for messages in make_chat_templates.CHATS]
    make_tokenizers.write("smollm2.json", {"plain": plain, "special": special, "chats": chats})
