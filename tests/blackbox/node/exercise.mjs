// Every call of the suite through the official SDK, one JSON object on standard output: step -> what the SDK made of it.
import OpenAI from 'openai';

const messages = [{ role: 'user', content: 'hello' }];
const model = 'gpt-4.1';
const client = new OpenAI({ maxRetries: 0, timeout: 15_000 });
const tools = [
  { type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: {} } } },
];

async function streamed(stream) {
  const texts = [];
  let usage = null;
  for await (const chunk of stream) {
    texts.push(chunk.choices[0]?.delta?.content ?? '');
    usage = chunk.usage ?? usage;
  }
  return { text: texts.join(''), usage };
}

function seen(error) {
  return {
    kind: error.constructor.name,
    status: error.status,
    code: error.code,
    message: error.message,
    requestID: error.requestID,
  };
}

async function refused(call) {
  try {
    await call();
  } catch (error) {
    return seen(error);
  }
  return { kind: null };
}

const steps = {
  async chat() {
    const { data, response, request_id } = await client.chat.completions
      .create({ model, messages })
      .withResponse();
    return {
      text: data.choices[0].message.content,
      usage: data.usage,
      requestID: request_id,
      remaining: response.headers.get('x-ratelimit-remaining-requests'),
    };
  },
  async stream() {
    return streamed(await client.chat.completions.create({ model, messages, stream: true }));
  },
  async streamWithUsage() {
    const options = { stream: true, stream_options: { include_usage: true } };
    return streamed(await client.chat.completions.create({ model, messages, ...options }));
  },
  async tools() {
    const answer = await client.chat.completions.create({ model, messages, tools });
    const choice = answer.choices[0];
    return { reason: choice.finish_reason, call: choice.message.tool_calls[0].function };
  },
  async streamedTools() {
    const stream = client.chat.completions.stream({ model, messages, tools });
    const choice = (await stream.finalChatCompletion()).choices[0];
    return { reason: choice.finish_reason, call: choice.message.tool_calls[0].function };
  },
  async completions() {
    const answer = await client.completions.create({ model, prompt: 'hello' });
    return { text: answer.choices[0].text };
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] });
    return { vectors: answer.data.map((item) => Array.from(item.embedding)) };
  },
  async responses() {
    const answer = await client.responses.create({ model, input: 'hello' });
    return { text: answer.output_text, tokens: answer.usage.output_tokens };
  },
  async streamedResponses() {
    const stream = await client.responses.create({ model, input: 'hello', stream: true });
    const types = [];
    let text = '';
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    return { first: types[0], last: types.at(-1), text };
  },
  async models() {
    const names = [];
    for await (const listed of client.models.list()) names.push(listed.id);
    const one = await client.models.retrieve(model);
    return { names, one: one.id };
  },
  async wrongKey() {
    const stranger = new OpenAI({ maxRetries: 0, apiKey: 'sk-relay-finance-wrong' });
    return refused(() => stranger.chat.completions.create({ model, messages }));
  },
  async unknownModel() {
    return refused(() => client.chat.completions.create({ model: 'absent', messages }));
  },
  async retried() {
    const patient = new OpenAI({ maxRetries: 2 });
    const answer = await patient.chat.completions.create({ model, messages });
    return { text: answer.choices[0].message.content };
  },
  async abort() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return { first: chunk.choices[0].delta.role };
    }
    return {};
  },
};

const chosen = process.argv.slice(2);
const results = {};
for (const step of chosen.length ? chosen : Object.keys(steps)) {
  results[step] = await steps[step]().catch((error) => ({ failed: seen(error) }));
}
console.log(JSON.stringify(results));
