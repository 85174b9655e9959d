import { createHmac } from 'node:crypto';

/**
 * Return the headers of a message signed as Standard Webhooks 1.0.0 say.
 *
 * The id is the same for every attempt of one message; the time is that of the attempt.
 */
export function sign(secret: string, id: string, body: string, nowMs: number): Record<string, string> {
    const timestamp = String(Math.floor(nowMs / 1000));
    const proof = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64');
    return {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${proof}`,
    };
}

/** Return the key of a secret: base64 behind `whsec_`, otherwise the text itself. */
function keyOf(secret: string): Buffer {
    const prefix = 'whsec_';
    return secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret, 'utf8');
}
