// The official client over HTTP, SSE and WebSocket: node openai.mjs BASE_URL. Prints what it got, as JSON.
import { readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = "codeact";
const tools = [
  {
    type: "function",
    name: "get_weather",
    description: "The weather of a city.",
    strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const textOf = (response) =>
  response.output.flatMap((item) => (item.type === "message" ? item.content.map((part) => part.text) : [])).join("");
const got = { version: JSON.parse(readFileSync("node_modules/openai/package.json", "utf8")).version };

got.plain = (await client.responses.create({ model, input: "plain" })).output_text;

let id = "";
let last = -1;
const seen = [];
for await (const event of await client.responses.create({ model, input: "streamed", stream: true, background: true })) {
  if (event.type === "response.created") id = event.response.id;
  seen.push(event.sequence_number);
  last = event.sequence_number;
  if (event.type === "response.code_interpreter_call_code.delta") break; // the client goes away
}
for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) {
  seen.push(event.sequence_number);
  if (event.type === "response.completed") got.resumed = textOf(event.response);
}
got.gapless = seen.every((number, index) => number === index);

const helped = await client.responses.stream({ model, input: "helped" }).finalResponse();
got.helped = [textOf(helped), helped.output.map((item) => item.type)];

const socket = new ResponsesWS(client);
const kinds = [];
await new Promise((resolve, reject) => {
  socket.on("error", reject);
  socket.on("event", (event) => {
    kinds.push(event.type);
    if (event.type === "response.completed") resolve();
  });
  socket.send({ type: "response.create", model, input: "over a socket" });
});
socket.close();
got.socket = [kinds[0], kinds.at(-1)];

const include = ["code_interpreter_call.outputs"];
const asking = await client.responses.create({ model, input: "weather", tools, include });
const calls = asking.output.filter((item) => item.type === "function_call");
got.asked = calls.map((call) => JSON.parse(call.arguments).city);
const answered = await client.responses.create({
  model,
  tools,
  previous_response_id: asking.id,
  input: calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "sunny" })),
});
got.weather = answered.output_text;

const stopped = await client.responses.create({ model, input: "stop me", background: true });
got.cancelled = (await client.responses.cancel(stopped.id)).status;

const { container_id: container } = asking.output.find((item) => item.type === "code_interpreter_call");
const file = await toFile(Buffer.from("1,2,3\n"), "numbers.csv");
const uploaded = await client.containers.files.create(container, { file });
const content = await client.containers.files.content.retrieve(uploaded.id, { container_id: container });
got.file = await content.text();
await client.containers.files.delete(uploaded.id, { container_id: container });

console.log(JSON.stringify(got));
process.exit(0);
