// The official openai package and the Vercel AI SDK against a running Candide at CANDIDE_URL,
// whose engine follows the script in tests/api/test_node_clients.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const baseURL = process.env.CANDIDE_URL;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const model = "scripted";
const ask = (content) => [{ role: "user", content }];
const weather = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

test("openai: an answer, whole and streamed", async () => {
  const whole = await client.chat.completions.create({ model, messages: ask("hello") });
  assert.equal(whole.choices[0].message.content, "Bonjour le monde");
  const stream = client.chat.completions.stream({
    model,
    messages: ask("hello"),
    stream_options: { include_usage: true },
  });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert.equal(text, "Bonjour le monde");
  assert.equal((await stream.totalUsage()).completion_tokens, 3);
});

test("openai: tool calls, streamed", async () => {
  const stream = client.chat.completions.stream({ model, messages: ask("weather"), tools: [weather] });
  const [call] = (await stream.finalMessage()).tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
});

test("openai: errors have their classes", async () => {
  await assert.rejects(client.chat.completions.create({ model: "gpt-9", messages: ask("x") }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), (error) => {
    assert(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "messages");
    return true;
  });
  const stream = await client.chat.completions.create({ model, messages: ask("fragile"), stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, OpenAI.APIError);
});

test("openai: responses are streamed, retrieved and deleted", async () => {
  const events = [];
  for await (const event of await client.responses.create({ model, input: "hello", stream: true })) events.push(event);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
  const { response } = events.at(-1);
  assert.equal(events.at(-1).type, "response.completed");
  const found = await client.responses.retrieve(response.id);
  assert.equal(found.output[0].content[0].text, "Bonjour le monde");
  await client.responses.delete(response.id);
  await assert.rejects(client.responses.retrieve(response.id), OpenAI.NotFoundError);
});

test("openai: embeddings and models", async () => {
  const { data } = await client.embeddings.create({ model, input: ["a", "b"] });
  assert.deepEqual(data.map((entry) => entry.embedding.length), [32, 32]);
  const names = [];
  for await (const found of client.models.list()) names.push(found.id);
  assert.deepEqual(names, [model]);
});

const providers = {
  "openai-compatible": createOpenAICompatible({ name: "candide", baseURL, includeUsage: true }).chatModel(model),
  "openai chat": createOpenAI({ baseURL, apiKey: "none" }).chat(model),
  "openai responses": createOpenAI({ baseURL, apiKey: "none" }).responses(model),
};

for (const [name, languageModel] of Object.entries(providers)) {
  test(`ai sdk, ${name}: text is streamed and counted`, async () => {
    const result = streamText({ model: languageModel, prompt: "hello", maxRetries: 0 });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    assert.equal(text, "Bonjour le monde");
    assert.equal(await result.finishReason, "stop");
    assert.equal((await result.usage).outputTokens, 3);
  });

  test(`ai sdk, ${name}: tools are called and their results read`, async () => {
    const cities = [];
    const result = await generateText({
      model: languageModel,
      prompt: "weather",
      maxRetries: 0,
      stopWhen: stepCountIs(2),
      tools: {
        get_weather: tool({
          inputSchema: z.object({ city: z.string() }),
          execute: ({ city }) => (cities.push(city), "sunny"),
        }),
      },
    });
    assert(cities.every((city) => city === "Paris") && cities.length > 0);
    assert.equal(result.steps.length, 2);
  });

  test(`ai sdk, ${name}: objects follow their schema`, async () => {
    const { output } = await generateText({
      model: languageModel,
      prompt: "person",
      maxRetries: 0,
      output: Output.object({ schema: z.object({ name: z.string(), age: z.number() }) }),
    });
    assert.deepEqual(output, { name: "Candide", age: 21 });
  });
}
