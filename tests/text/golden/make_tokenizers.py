"""Makes the tokenizer files beside this one: small tokenizers in the shapes of Llama 3, Qwen 2.5 and Llama 2, trained on this project's own
pages, each with texts and what the original makes of them.

Needs the packages tokenizers and sentencepiece, once: the files are in the repository. Texts are written with a character for each byte."""
import json
import pathlib
import random
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
PROSE = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))[:150_000] + "\u00e9\u00fc\u4e2d\u6587 \u3053\u3093 \u0441\u043b\u043e\u0432\u043e " * 200
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = [
    "", " ", "a", "Hello world", " Hello  world \n\n\n x", "I'm, we'LL, don'T, x\u017f'\u017f", "1234567890 1.5e-3 \u0663\u0664 \u00bd\u2167",
    "for (int i = 0; i < 10; ++i) {\n\t\tsum += a[i];\r\n}\r\n", "tabs\t\t\tand   spaces   ", "<|im_start|>user\nhi<|im_end|>", "<s>a</s><unk>", "<0x0A>",
    "<tool_call>{}</tool_call> <tool_call>", "caf\u00e9 cafe\u0301 A\u030a\u0323 \u1100\u1161\u11a8 \u212b \u0344", "\u4e2d\u6587\u3053\u3093\u306b\u3061\u306f\ud55c\uad6d\uc5b4",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd \u2764\ufe0f", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639 \u05e9\u05c1 \u0e44\u0e17\u0e22",
    "\u00a0\u1680\u180e\u2003\u2028\u202f\u3000\ufeff\u200bx\x00y\x1c\x85", "\u2581\u2581a \u2581b", " " * 50 + "x" + "\n" * 20 + "a" * 70 + "=" * 40, "CamelCaseWORDs snake_case http://a.b/c?d=e&f=%20",
]
MALFORMED = [b"\xed\xa0\x80\xed\xbf\xbf", b"\xf4\x90\x80\x80 \xc0\xaf", b"a\xe2\x82 b\xe2\x82", b"\xf0\x9f\x98", b"\xff\xfe\x80x", bytes(range(128, 256))]


def random_texts():
    draws = random.Random(5)
    letters = "abAB  \n'019.\u00e9\u0301\u0323\u4e2d\U0001f600\u2581\t_-"
    texts = ["".join(draws.choice(letters) for _ in range(draws.randint(1, 60))) for _ in range(25)]
    return texts + [PROSE[start:start + 150] for start in (0, 5000, 40_000)]


def cases(encode):
    texts = [text.encode() for text in TEXTS + random_texts()] + MALFORMED
    return [{"text": text.decode("latin-1"), "tokens": encode(text)} for text in texts]


def write(name, content):
    (HERE / name).write_text(json.dumps(content, separators=(",", ":")) + "\n")


def of_tokenizer(tokenizer, name):
    tokenizer.encode_special_tokens = True  # control tokens in a text are text
    plain = cases(lambda text: tokenizer.encode(text.decode(errors="replace"), add_special_tokens=False).ids)
    tokenizer.encode_special_tokens = False
    parsed = cases(lambda text: tokenizer.encode(text.decode(errors="replace")).ids)[:25]
    write(name, {"tokenizer": json.loads(tokenizer.to_str()), "plain": plain, "special": parsed})


def byte_level(name, pattern, nfc, ignore_merges):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([PROSE], trainers.BpeTrainer(
        vocab_size=380, special_tokens=["<|begin|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    if not nfc:
        tokenizer.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    of_tokenizer(tokenizer, name)


def sentence_piece():
    with tempfile.TemporaryDirectory() as folder:
        prefix = folder + "/model"
        pathlib.Path(folder, "text").write_text(PROSE)
        sentencepiece.SentencePieceTrainer.train(
            input=folder + "/text", model_prefix=prefix, vocab_size=400, model_type="bpe", normalization_rule_name="identity", byte_fallback=True,
            remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True, user_defined_symbols=["<tool_call>"],
            max_sentence_length=20_000, num_threads=1, minloglevel=2)
        model = sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in range(model.vocab_size())]
    vocabulary = [[model.id_to_piece(i), model.get_score(i), 4 if model.id_to_piece(i) == "<tool_call>" else kinds[i]] for i in range(len(kinds))]
    write("sentence_piece.json", {"vocabulary": vocabulary, "plain": cases(lambda text: model.encode(text))})
    ids = {piece: i for i, (piece, _, _) in enumerate(vocabulary)}
    merges = []  # as Transformers makes them of a model of SentencePiece
    for piece, score, kind in vocabulary:
        ways = [(ids[piece[:at]], ids[piece[at:]], piece[:at], piece[at:], score) for at in range(1, len(piece)) if piece[:at] in ids and piece[at:] in ids]
        merges += sorted(ways) if kind == 1 else []
    merges.sort(key=lambda way: -way[4])
    tokenizer = Tokenizer(models.BPE(ids, [way[2:4] for way in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    of_tokenizer(tokenizer, "llama2.json")


if __name__ == "__main__":
    byte_level("llama3.json", LLAMA3, nfc=False, ignore_merges=True)
    byte_level("qwen.json", LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"), nfc=True, ignore_merges=False)
    sentence_piece()
