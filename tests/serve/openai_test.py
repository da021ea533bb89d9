"""The official client of the OpenAI API against shoal serve, with real weights.  openai_test.py SHOAL, by a Python that has it
(tools/requirements-clients.txt)."""
import json
import os
import sys
import unittest

import openai
import serving

sys.path.insert(0, str(serving.ROOT / "tests" / "cli"))
import support

SHOAL = os.path.abspath(sys.argv.pop(1))
CHAT = [{"role": "system", "content": "You answer in one short sentence."}, {"role": "user", "content": "What is the capital of France?"}]


class OpenAi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        serving.need_model()
        cls.server = serving.Serving(SHOAL, serving.MODEL, "--context", 1024, environment={"SHOAL_API_KEY": "secret"}, key="secret")
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.server.port}/v1", api_key="secret", max_retries=0, timeout=120)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.__exit__()

    def chat(self, **options):
        return self.client.chat.completions.create(model=self.model, messages=CHAT, **{"temperature": 0, "max_completion_tokens": 40, **options})

    def test_models(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        self.assertIn("SmolLM2", self.model)

    def test_a_chat_and_the_same_as_a_stream(self):
        whole = self.chat()
        self.assertIn("Paris", whole.choices[0].message.content)
        self.assertEqual(whole.choices[0].finish_reason, "stop")
        self.assertEqual(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), whole.choices[0].message.content)
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1], "stop")
        self.assertEqual((chunks[-1].usage, chunks[-1].choices), (whole.usage, []))

    def test_logprobs(self):
        tokens = self.chat(logprobs=True, top_logprobs=3, max_completion_tokens=6).choices[0].logprobs.content
        for token in tokens:
            self.assertEqual(token.top_logprobs[0].token, token.token)  # greedy
            self.assertEqual(token.top_logprobs[0].logprob, token.logprob)
            self.assertEqual(bytes(token.bytes).decode(), token.token)
            self.assertEqual(len(token.top_logprobs), 3)
        told = self.client.completions.create(model=self.model, prompt="The sea is", max_tokens=4, logprobs=2, echo=True, temperature=0).choices[0]
        self.assertTrue(told.text.startswith("The sea is"))
        self.assertEqual("".join(told.logprobs.tokens), told.text)
        self.assertIsNone(told.logprobs.token_logprobs[0])

    def test_several_answers_by_seed(self):
        def texts(seed):
            return [choice.message.content for choice in self.chat(n=3, seed=seed, temperature=1.0, max_completion_tokens=12).choices]
        first = texts(5)
        self.assertEqual((texts(5), len(set(first)) > 1), (first, True))
        self.assertNotEqual(texts(6), first)

    def test_a_form(self):
        schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
                  "required": ["city", "large"], "additionalProperties": False}
        got = self.chat(response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}, max_completion_tokens=80)
        self.assertEqual(sorted(json.loads(got.choices[0].message.content)), ["city", "large"])

    def test_embeddings(self):
        texts = ["The cat sat on the mat.", "A cat was sitting on a mat.", "Interest rates rose by half a percent."]
        vectors = [one.embedding for one in self.client.embeddings.create(model=self.model, input=texts).data]  # base64 on the wire
        plain = [one.embedding for one in self.client.embeddings.create(model=self.model, input=texts, encoding_format="float").data]
        self.assertEqual(vectors, plain)
        near, far = (sum(a * b for a, b in zip(vectors[0], vectors[i])) for i in [1, 2])
        self.assertAlmostEqual(sum(a * a for a in vectors[0]), 1, places=5)
        self.assertGreater(near, far)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=3)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model=self.model, prompt="word " * 3000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(model="other", messages=CHAT)
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="wrong").models.list()

    def test_a_stream_that_is_given_up_ends_in_the_engine(self):
        before = self.server.metric("shoal_cancelled_total")
        stream = self.chat(stream=True, temperature=1.5, max_completion_tokens=900, logit_bias={"2": -100})
        for _ in range(3):
            next(iter(stream))
        stream.close()
        support.wait_for(lambda: self.server.metric("shoal_cancelled_total") > before and self.server.metric("shoal_running") == 0, seconds=4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
