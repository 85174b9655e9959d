import { Inject, Injectable } from '@nestjs/common';
import { Logger, Order, RequestContext, TransactionalConnection } from '@vendure/core';

import { FlashdAway, FlashdClient, HoldLine } from './client';
import { holdIdOf, lastHoldIdOf, numberOf } from './hold-id';
import { CompleteOptions, FLASHD_OPTIONS } from './options';

const LOG = 'flashd';
const ATTEMPTS = 5; // each passes over a hold of this order that has ended; more than one is rare

/** Holds of orders: one live hold for each order that is being paid. */
@Injectable()
export class HoldKeeper {
    constructor(
        private readonly flashd: FlashdClient,
        private readonly connection: TransactionalConnection,
        @Inject(FLASHD_OPTIONS) private readonly options: CompleteOptions,
    ) {}

    /** See to it that flashd holds what the order wants. Return true, or what to tell the buyer. */
    async ensure(ctx: RequestContext, order: Order): Promise<true | string> {
        try {
            return await this.ask(ctx, order);
        } catch (error) {
            if (!(error instanceof FlashdAway)) {
                throw error;
            }
            Logger.error(`order ${order.code}: ${error.message}`, LOG);
            return this.options.whenAway === 'sell' ? true : this.options.messages.away();
        }
    }

    /** Let the next hold have an id of its own, in the transaction in which the order stops being paid. */
    async leave(ctx: RequestContext, order: Order): Promise<void> {
        await this.count(ctx, order);
    }

    /** Give back what an order held until it was left, once that is committed: a roll-back still needs its hold. */
    async releaseLeft(order: Order): Promise<void> {
        try {
            const id = lastHoldIdOf(order);
            await (id && this.flashd.release(id));
        } catch (error) {
            // The hold ends by itself when its time is over.
            Logger.warn(`order ${order.code}: its hold was not released: ${(error as Error).message}`, LOG);
        }
    }

    private async ask(ctx: RequestContext, order: Order): Promise<true | string> {
        const wanted: HoldLine[] = order.lines
            .filter(line => line.quantity > 0)
            .map(line => ({ sku: line.productVariant.sku, quantity: line.quantity }));
        const customer = { email: order.customer?.emailAddress ?? '', phone: order.customer?.phoneNumber ?? '' };
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
            const id = holdIdOf(order);
            const answer = await this.flashd.hold(id, wanted, customer);
            if (answer.kind === 'held') {
                await this.extendIfLate(id, answer.expiresAt);
                return true;
            }
            if (answer.kind === 'short') {
                return this.options.messages.short(shortages(order, wanted, answer.left));
            }
            if (answer.kind === 'refused') {
                return this.options.messages.refused(answer.reason);
            }
            if (answer.kind === 'conflict') {
                await this.flashd.release(id); // the cart has changed since; what it held then is free again
            }
            await this.count(ctx, order);
        }
        throw new FlashdAway(`no hold after ${ATTEMPTS} attempts`);
    }

    private async extendIfLate(id: string, expiresAt: number): Promise<void> {
        if (expiresAt - Date.now() < this.options.holdMs / 2) {
            await this.flashd.extend(id);
        }
    }

    private async count(ctx: RequestContext, order: Order): Promise<void> {
        const flashdHold = numberOf(order) + 1;
        order.customFields = { ...order.customFields, flashdHold };
        await this.connection.getRepository(ctx, Order).update(order.id, { customFields: { flashdHold } });
    }
}

function shortages(order: Order, wanted: HoldLine[], left: Record<string, number>) {
    return Object.entries(left).map(([sku, count]) => ({
        sku,
        name: order.lines.find(line => line.productVariant.sku === sku)?.productVariant.name ?? sku,
        wanted: wanted.filter(line => line.sku === sku).reduce((sum, line) => sum + line.quantity, 0),
        left: count,
    }));
}
