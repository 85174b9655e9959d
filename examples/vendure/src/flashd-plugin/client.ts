import { Inject, Injectable } from '@nestjs/common';

import { CompleteOptions, FLASHD_OPTIONS } from './options';
import { OrderMessage } from './order-message';
import { sign } from './signature';

export interface HoldLine {
    sku: string;
    quantity: number;
}

/** Who buys: purchase limits count by it. flashd keeps only a keyed hash, and without a key nothing. */
export interface HoldCustomer {
    email: string;
    phone: string;
}

/** What flashd said to a wish to hold. */
export type HoldAnswer =
    | { kind: 'held'; expiresAt: number }
    | { kind: 'ended' } // this id was held once; it was released, has expired, or was sold
    | { kind: 'conflict' } // this id holds something else
    | { kind: 'short'; left: Record<string, number> }
    | { kind: 'refused'; reason: string }; // a purchase limit, or a sale that is not open

/** flashd did not answer, or not as agreed: nothing is known about what was asked. */
export class FlashdAway extends Error {}

/** HTTP to flashd. */
@Injectable()
export class FlashdClient {
    constructor(@Inject(FLASHD_OPTIONS) private readonly options: CompleteOptions) {}

    /** Set stock aside for all lines or for none. Asking twice under one id holds once. */
    async hold(id: string, lines: HoldLine[], customer: HoldCustomer): Promise<HoldAnswer> {
        const answer = await this.native('POST', '/v1/holds', { id, lines, customer, ttl_ms: this.options.holdMs });
        const body = await read(answer);
        if (answer.status === 200 || answer.status === 201) {
            return body.state === 'held' ? { kind: 'held', expiresAt: Date.parse(body.expires_at) } : { kind: 'ended' };
        }
        switch (body.title) {
            case 'short':
                return { kind: 'short', left: body.left };
            case 'conflict':
                return { kind: 'conflict' };
            case 'unknown_sku': // flashd was never told of its stock, so it promises none
                return { kind: 'short', left: Object.fromEntries(body.skus.map((sku: string) => [sku, 0])) };
            default:
                if (answer.status === 409) {
                    return { kind: 'refused', reason: body.title };
                }
                throw new FlashdAway(`a hold was answered ${answer.status} ${body.title ?? ''}: ${body.detail ?? ''}`);
        }
    }

    /** Let a hold live longer, up to the pool's bound. */
    async extend(id: string): Promise<void> {
        const path = `/v1/holds/${encodeURIComponent(id)}/extend`;
        const answer = await this.native('POST', path, { ttl_ms: this.options.holdMs });
        await answer.body?.cancel();
    }

    /** Give a hold's stock back; one that has ended already is fine. */
    async release(id: string): Promise<void> {
        const answer = await this.native('DELETE', `/v1/holds/${encodeURIComponent(id)}`);
        await answer.body?.cancel();
        if (answer.status !== 200 && answer.status !== 404) {
            throw new FlashdAway(`a release was answered ${answer.status}`);
        }
    }

    /** Tell of an order. It returns once flashd has made the order durable; until then it throws. */
    async tell(messageId: string, message: OrderMessage): Promise<void> {
        const body = JSON.stringify(message);
        const headers = sign(this.options.secret, messageId, body, Date.now());
        const answer = await this.send(`/webhooks/${encodeURIComponent(this.options.channel)}`, {
            method: 'POST',
            headers,
            body,
        });
        const said = await answer.text();
        if (answer.status !== 200) {
            throw new FlashdAway(`order ${message.id} was answered ${answer.status}: ${said.slice(0, 300)}`);
        }
    }

    private native(method: string, path: string, body?: object): Promise<Response> {
        return this.send(path, {
            method,
            headers: { authorization: `Bearer ${this.options.token}`, 'content-type': 'application/json' },
            body: body && JSON.stringify(body),
        });
    }

    private async send(path: string, request: RequestInit): Promise<Response> {
        const signal = AbortSignal.timeout(this.options.timeoutMs);
        try {
            return await fetch(this.options.url + path, { ...request, signal, redirect: 'error' });
        } catch (error) {
            throw new FlashdAway(`flashd does not answer: ${reason(error)}`);
        }
    }
}

async function read(answer: Response): Promise<any> {
    try {
        return await answer.json();
    } catch (error) {
        throw new FlashdAway(`flashd's answer ${answer.status} cannot be read: ${reason(error)}`);
    }
}

function reason(error: unknown): string {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return error instanceof Error ? error.message + cause : String(error);
}
