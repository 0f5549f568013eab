// LangChain for JavaScript over both APIs: node langchain.mjs BASE_URL. Prints what it got, as JSON.
import { createRequire } from "node:module";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";

const [baseURL] = process.argv.slice(2);
const asked = [];
const weatherOf = tool(({ city }) => (asked.push(city), "sunny"), {
  name: "get_weather",
  description: "The weather of a city.",
  schema: z.object({ city: z.string() }),
});
const model = (useResponsesApi) =>
  new ChatOpenAI({ model: "codeact", apiKey: "none", useResponsesApi, configuration: { baseURL } });
const streamed = async (chat, words) => {
  let text = "";
  for await (const chunk of await chat.stream(words)) text += chunk.text;
  return text;
};

const responses = model(true), completions = model(false);
const plain = (await responses.invoke("plain")).text;
const live = await streamed(responses, "streamed");
const completed = (await completions.invoke("completed")).text;
const completedLive = await streamed(completions, "completed live");
const history = [new HumanMessage("weather")];
const withTools = responses.bindTools([weatherOf]);
const answer = await withTools.invoke(history);
history.push(answer);
for (const call of answer.tool_calls) {
  history.push(new ToolMessage({ content: await weatherOf.invoke(call.args), tool_call_id: call.id }));
}
const weather = (await withTools.invoke(history)).text;
const { version } = createRequire(import.meta.url)("./node_modules/@langchain/openai/package.json");
console.log(JSON.stringify({ version, plain, streamed: live, completed, completedLive, asked, weather }));
