import { Injectable, OnModuleInit } from '@nestjs/common';
import {
    Cancellation,
    EventBus,
    ID,
    JobQueue,
    JobQueueService,
    Order,
    OrderLine,
    OrderPlacedEvent,
    OrderService,
    OrderStateTransitionEvent,
    Release,
    RequestContext,
    RequestContextService,
    StockMovementEvent,
    TransactionalConnection,
} from '@vendure/core';
import { In } from 'typeorm';

import { FlashdClient } from './client';
import { HoldKeeper } from './hold-keeper';
import { isLeft } from './hold-process';
import { messageOf } from './order-message';

export const QUEUE = 'flashd-orders';
const RETRIES = 10_000; // a week, at a minute each: flashd may be away, an order may not be forgotten

/** Tell flashd of every placed order, and of what becomes of it. */
@Injectable()
export class OrderFeed implements OnModuleInit {
    private queue!: JobQueue<{ orderId: ID }>;

    constructor(
        private readonly jobs: JobQueueService,
        private readonly events: EventBus,
        private readonly orders: OrderService,
        private readonly contexts: RequestContextService,
        private readonly connection: TransactionalConnection,
        private readonly flashd: FlashdClient,
        private readonly keeper: HoldKeeper,
    ) {}

    async onModuleInit(): Promise<void> {
        this.queue = await this.jobs.createQueue({ name: QUEUE, process: job => this.tell(job.data.orderId) });
        // Blocking handlers run inside the transaction that places the order, and the job is written by that same
        // transaction: there is no order without its job, and no job without its order.
        this.events.registerBlockingEventHandler({
            event: OrderPlacedEvent,
            id: 'flashd-order-placed',
            handler: event => {
                dateAnew(event.order);
                return this.enqueue(event.ctx, event.order.id);
            },
        });
        this.events.registerBlockingEventHandler({
            event: OrderStateTransitionEvent,
            id: 'flashd-order-changed',
            handler: async event => {
                if (event.order.orderPlacedAt) {
                    dateAnew(event.order);
                    await this.enqueue(event.ctx, event.order.id);
                }
            },
        });
        this.events.registerBlockingEventHandler({
            event: StockMovementEvent,
            id: 'flashd-order-reduced',
            handler: event => this.noteReduced(event),
        });
        // This kind of subscriber is called after the commit.
        this.events.ofType(OrderStateTransitionEvent).subscribe(event => {
            if (isLeft(event.fromState, event.toState)) {
                void this.keeper.releaseLeft(event.order);
            }
        });
    }

    /** A line that is cancelled leaves its order as it was: date the order anew, so that its next message is newer. */
    private async noteReduced(event: StockMovementEvent): Promise<void> {
        const lineIds = event.stockMovements
            .filter(movement => movement instanceof Release || movement instanceof Cancellation)
            .map(movement => movement.orderLine.id);
        if (lineIds.length === 0) {
            return;
        }
        const lines = await this.connection
            .getRepository(event.ctx, OrderLine)
            .find({ where: { id: In(lineIds) }, relations: { order: true } });
        for (const [orderId, order] of new Map(lines.map(line => [line.order.id, line.order]))) {
            const updatedAt = dateAnew(order);
            await this.connection.getRepository(event.ctx, Order).update(orderId, { updatedAt });
            await this.enqueue(event.ctx, orderId);
        }
    }

    private async enqueue(ctx: RequestContext, orderId: ID): Promise<void> {
        await this.queue.add({ orderId }, { ctx, retries: RETRIES });
    }

    /** Send the order as it stands now. What was sent before, or arrives twice, does no harm. */
    private async tell(orderId: ID): Promise<void> {
        const ctx = await this.contexts.create({ apiType: 'admin' }); // the default channel: it has every order
        const order = await this.orders.findOne(ctx, orderId);
        if (!order) {
            return; // deleted since
        }
        await this.flashd.tell(`${order.code}.${order.updatedAt.getTime()}`, messageOf(order));
    }
}

/**
 * Date an order by now: its version, and where the poll looks for it. Events hand out the very order that Vendure saves
 * once more afterwards.
 *
 * Vendure saves an order twice while its state changes, and the second time writes back the date that it was read with.
 * An order would count as last changed when its cart was, so one that was paid a minute later is never polled. One clock
 * dates all changes, and a later one is later also where that clock was set back.
 */
function dateAnew(order: Order): Date {
    order.updatedAt = new Date(Math.max(Date.now(), order.updatedAt.getTime() + 1));
    return order.updatedAt;
}
