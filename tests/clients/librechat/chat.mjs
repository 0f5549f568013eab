// A streamed answer and a title, as LibreChat asks for them by its package: node chat.mjs BASE_URL
import { readFileSync } from 'node:fs';
import { HumanMessage } from '@langchain/core/messages';
import { GraphEvents, Providers, Run, TitleMethod } from '@librechat/agents';

const [baseURL] = process.argv.slice(2);
const client = { model: 'codeact', apiKey: 'none', configuration: { baseURL } };
let pieces = 0;
const run = await Run.create({
  runId: 'run_1',
  graphConfig: {
    type: 'standard',
    instructions: 'Be brief.',
    llmConfig: { provider: Providers.OPENAI, streaming: true, ...client },
  },
  returnContent: true,
  customHandlers: { [GraphEvents.ON_MESSAGE_DELTA]: { handle: () => { pieces += 1; } } },
});
const config = { configurable: { thread_id: 'thread_1' }, streamMode: 'values', version: 'v2' };
const content = await run.processStream({ messages: [new HumanMessage('6*7?')] }, config);
const text = content.map((part) => part?.text ?? '').join('');
const { title } = await run.generateTitle({
  provider: Providers.OPENAI,
  inputText: '6*7?',
  contentParts: content,
  titleMethod: TitleMethod.COMPLETION,
  clientOptions: client,
});
const { version } = JSON.parse(readFileSync('node_modules/@librechat/agents/package.json', 'utf8'));
console.log(JSON.stringify({ version, text, pieces, title }));
process.exit(0);
