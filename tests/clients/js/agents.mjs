// The Agents SDK, streamed and not, with functions of its own and a session: node agents.mjs BASE_URL. Prints JSON.
import { readFileSync } from "node:fs";
import { Agent, MemorySession, OpenAIResponsesModel, Runner, codeInterpreterTool, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = new OpenAIResponsesModel(client, "codeact");
const runner = new Runner({ tracingDisabled: true });
const got = { version: JSON.parse(readFileSync("node_modules/@openai/agents/package.json", "utf8")).version };

const plain = new Agent({ name: "Plain", instructions: "Be brief.", model, tools: [codeInterpreterTool()] });
got.plain = (await runner.run(plain, "plain")).finalOutput;

const streamed = await runner.run(plain, "streamed", { stream: true });
got.deltas = "";
for await (const event of streamed) {
  if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta") got.deltas += event.data.delta;
}
await streamed.completed;
got.streamed = streamed.finalOutput;

got.asked = [];
const weather = tool({
  name: "get_weather",
  description: "The weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    got.asked.push(city);
    return "sunny";
  },
});
const looking = new Agent({ name: "Looking", model, tools: [weather] });
got.weather = (await runner.run(looking, "the weather")).finalOutput;
const live = await runner.run(looking, "the weather, live", { stream: true });
await live.completed;
got.weather_live = live.finalOutput;

const session = new MemorySession();
await runner.run(plain, "one", { session });
got.second = (await runner.run(plain, "two", { session })).finalOutput;

console.log(JSON.stringify(got));
process.exit(0);
