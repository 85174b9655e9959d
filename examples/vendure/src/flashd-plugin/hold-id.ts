import { Order } from '@vendure/core';

/**
 * Return the id of the hold that an order has, or would ask for next.
 *
 * It follows from the order alone, so asking again after a lost answer or a crash is the same hold. The number counts
 * the holds that ended before: a hold's id is never used again.
 */
export function holdIdOf(order: Order): string {
    return `${order.code}-${order.customFields.flashdHold ?? 0}`;
}

declare module '@vendure/core/dist/entity/custom-entity-fields' {
    interface CustomOrderFields {
        flashdHold: number;
    }
}
