// What many would pick: Fastify takes the webhook, BullMQ keeps it in Redis. It answers after Redis has acknowledged the
// job, and Redis fsyncs every write. Two doors: the first parses the order, as whoever wants to know its stock must; the
// second puts the body away as it came.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Queue } from 'bullmq';
import Fastify from 'fastify';

const { STORE_SOCKET: path, WEBHOOK_SECRET: secret } = process.env;
const bearer = Buffer.from(`Bearer ${secret}`);
const queue = new Queue('orders', { connection: { path } });

function equal(given, right) {
  return given.length === right.length && timingSafeEqual(given, right);
}

function isSigned(request) {
  const right = createHmac('sha256', secret).update(request.body).digest();
  return equal(Buffer.from(request.headers['x-shopify-hmac-sha256'] ?? '', 'base64'), right);
}

function isKnown(request) {
  return equal(Buffer.from(request.headers.authorization ?? ''), bearer);
}

async function open(dataOf) {
  const app = Fastify({ logger: false, bodyLimit: 4 * 1024 * 1024 });
  app.removeAllContentTypeParsers(); // a signature is of the bytes as they came
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  const take = (isAllowed) => async (request, reply) => {
    if (!isAllowed(request)) return reply.code(401).send();
    await queue.add('order', dataOf(request.body));
    return reply.code(200).send();
  };
  app.post('/webhooks/shop-000', take(isSigned));
  app.post('/v1/orders', take(isKnown));
  await app.listen({ host: '127.0.0.1', port: 0, backlog: 1024 });
  return app.server.address().port;
}

await queue.waitUntilReady();
const parsing = await open((body) => JSON.parse(body));
const keeping = await open((body) => ({ body: body.toString() }));
process.stdout.write(`${parsing} ${keeping}\n`);
