// The AI SDK's OpenAI provider: node ai_sdk.mjs BASE_URL. Prints what it got, as JSON.
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ baseURL: process.argv[2], apiKey: "none" });
const model = openai.responses("codeact");
const got = { version: JSON.parse(readFileSync("node_modules/@ai-sdk/openai/package.json", "utf8")).version };

got.plain = (await generateText({ model, prompt: "plain" })).text;

const streamed = streamText({ model, prompt: "streamed" });
got.streamed = "";
for await (const delta of streamed.textStream) got.streamed += delta;

const asked = [];
const weather = await generateText({
  model,
  prompt: "weather",
  stopWhen: stepCountIs(4),
  tools: {
    get_weather: tool({
      description: "The weather of a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        asked.push(city);
        return "sunny";
      },
    }),
  },
});
got.asked = asked;
got.weather = weather.text;

got.chat = (await generateText({ model: openai.chat("codeact"), prompt: "by chat completions" })).text;

console.log(JSON.stringify(got));
