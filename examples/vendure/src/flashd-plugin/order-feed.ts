import { Injectable, OnModuleInit } from '@nestjs/common';
import {
    EventBus,
    ID,
    JobQueue,
    JobQueueService,
    Order,
    OrderPlacedEvent,
    OrderStateTransitionEvent,
    RequestContext,
    TransactionalConnection,
} from '@vendure/core';

import { FlashdClient } from './client';
import { HoldKeeper } from './hold-keeper';
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
            handler: event => this.enqueue(event.ctx, event.order),
        });
        this.events.registerBlockingEventHandler({
            event: OrderStateTransitionEvent,
            id: 'flashd-order-changed',
            handler: async event => {
                if (event.order.orderPlacedAt) {
                    await this.enqueue(event.ctx, event.order);
                }
            },
        });
        // A release must wait for the commit: if the shop rolls back, the order still needs its hold.
        this.events.ofType(OrderStateTransitionEvent).subscribe(event => {
            const left = event.fromState === 'ArrangingPayment';
            if (left && (event.toState === 'AddingItems' || event.toState === 'Cancelled')) {
                void this.keeper.release(event.order);
            }
        });
    }

    private async enqueue(ctx: RequestContext, order: Order): Promise<void> {
        await this.queue.add({ orderId: order.id }, { ctx, retries: RETRIES });
    }

    /** Send the order as it stands now. What was sent before, or arrives twice, does no harm. */
    private async tell(orderId: ID): Promise<void> {
        const order = await this.connection.rawConnection.getRepository(Order).findOneOrFail({
            where: { id: orderId },
            relations: {
                customer: true,
                lines: { productVariant: { translations: true } },
                shippingLines: true,
                surcharges: true,
            },
        });
        await this.flashd.tell(`${order.code}.${order.updatedAt.getTime()}`, messageOf(order));
    }
}
