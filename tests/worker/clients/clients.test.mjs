// Clients as users have them, each with its own SDK, against the gateway on the real runtime:
// base URL and key are all that changes. Every client meets models on channels of every dialect.
// At the end stands the table of client by area.
import { after, before, describe } from 'node:test';
import { aiSdk } from './ai.mjs';
import { anthropic } from './anthropic.mjs';
import { google } from './google.mjs';
import { openai } from './openai.mjs';
import { python } from './python.mjs';
import { Stage, Table } from './stage.mjs';

const stage = new Stage();
const table = new Table();

before(() => stage.open());
after(async () => {
  console.log(`Client by area, with the number of checks:\n${table}`);
  await stage.close();
});

describe('openai, JavaScript', () => openai(stage, table.checker('openai js')));
describe('@anthropic-ai/sdk', () => anthropic(stage, table.checker('anthropic js')));
describe('@google/genai', () => google(stage, table.checker('google js')));
describe('ai with @ai-sdk/openai', () => aiSdk('openai', stage, table.checker('ai openai')));
describe('ai with @ai-sdk/openai-compatible', () => aiSdk('compatible', stage, table.checker('ai compatible')));
describe('openai, Python', () => python('openai_client.py', stage, table, 'openai py'));
describe('anthropic, Python', () => python('anthropic_client.py', stage, table, 'anthropic py'));
describe('langchain-openai', () => python('langchain_client.py', stage, table, 'langchain'));
describe('litellm', () => python('litellm_client.py', stage, table, 'litellm'));
